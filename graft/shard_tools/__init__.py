"""`graft shards`: list, look into, divide and join shards."""

from graft.shard_tools.dividing import split
from graft.shard_tools.extract import extract
from graft.shard_tools.look import count, list_shards, show
from graft.shard_tools.reshape import merge, reshard

VERBS = {
    "list": list_shards,
    "show": show,
    "count": count,
    "reshard": reshard,
    "merge": merge,
    "split": split,
    "extract": extract,
}
"""The sub-commands by name."""

__all__ = ["VERBS", "count", "extract", "list_shards", "merge", "reshard", "show", "split"]
