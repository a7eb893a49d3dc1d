"""Where an index lies: a folder, or a prefix on S3 with credentials and endpoint from the environment."""

import os
from pathlib import Path

from graft.errors import GraftError
from graft.remote import is_address


def index_address(address: str | Path) -> str:
    """The address of an index in one spelling.

    Raises:
        GraftError: none, one other than s3://, or s3:// without a bucket.
    """
    given = str(address)
    if not given.strip() or (given.startswith("s3:") and not given.removeprefix("s3:").strip("/ ")):
        raise GraftError(f"{given!r} is no address of an index: give a folder or s3://bucket/prefix.")
    where = given.rstrip("/") or "/"
    if is_address(where) and not where.startswith("s3://"):
        raise GraftError(f"{where} cannot hold an index: give a folder or s3://bucket/prefix.")
    return where


def is_local(address: str) -> bool:
    """Whether an `index_address` is a folder."""
    return not address.startswith("s3://")


def storage_options(address: str) -> dict[str, str]:
    """What LanceDB's object store does not find by itself in the environment.

    An endpoint (AWS_ENDPOINT_URL) in plain http has to be allowed, and one without a region gets S3's default.
    """
    endpoint = s3_endpoint()
    if is_local(address) or endpoint is None:
        return {}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {"endpoint": endpoint, "region": region, "allow_http": str(endpoint.startswith("http://")).lower()}


def s3_endpoint() -> str | None:
    """Address of an S3 server other than Amazon's, from the environment."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
