"""Result rows as one table: Markdown, CSV and LaTeX, with every choice of the protocol."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from graft.files import atomic_path
from graft.results import HEADLINE, ResultRow

COLUMNS = (
    *("task", "dataset", "split", "model", "metric", "value", "low", "high", "n", "skipped", "prompts"),
    *("preprocessing", "model_sha256", "code_version", "seed"),
)
_SHORT = ("task", "dataset", "split", "model", "metric", "value", "n", "prompts", "preprocessing", "model_sha256")


def table_rows(rows: Sequence[ResultRow], names: Sequence[str]) -> list[dict[str, str]]:
    """The headline figures of rows, a line each: protocol by protocol, the models as given, then the others.

    Figures are in percent, with one digit; `low` and `high` bound the 95 % interval where a row has one.
    """
    order = {name: place for place, name in enumerate(names)}

    def place(row: ResultRow) -> tuple[object, ...]:
        protocol = row["task"], row["dataset"], row["split"], row["preprocessing"]
        return *protocol, order.get(row["model"], len(order)), row["model"]

    made = []
    for row in sorted(rows, key=place):
        words = row["prompts"] or {}
        common = {
            **{key: str(row[key]) for key in ("task", "dataset", "split", "model")},
            "n": str(row["n"]),
            "skipped": str(row["skipped"]),
            "prompts": f"{words['name']}/{words['family']} {words['sha256'][:8]}" if words else "",
            "preprocessing": row["preprocessing"],
            "model_sha256": (row["model_sha256"] or "")[:12],
            "code_version": row["code_version"][:12],
            "seed": "" if row["seed"] is None else str(row["seed"]),
        }
        for metric in HEADLINE.get(row["task"], ()):
            if metric in row["metrics"]:
                low, high = row.get("intervals", {}).get(metric, ("", ""))
                bounds = [f"{100 * float(bound):.1f}" if bound != "" else "" for bound in (low, high)]
                value = f"{100 * row['metrics'][metric]:.1f}"
                made.append(common | {"metric": metric, "value": value, "low": bounds[0], "high": bounds[1]})
    return made


def write_tables(rows: Sequence[ResultRow], names: Sequence[str], folder: Path) -> list[Path]:
    """Write `table.md`, `table.csv` and `table.tex`; returns them."""
    lines = table_rows(rows, names)
    texts = {"table.md": _markdown(lines), "table.csv": _csv(lines), "table.tex": _latex(lines)}
    for name, text in texts.items():
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _value(line: dict[str, str], dash: str) -> str:
    return f"{line['value']} ({line['low']}{dash}{line['high']})" if line["low"] else line["value"]


def _markdown(lines: Sequence[dict[str, str]]) -> str:
    head = [f"| {' | '.join(_SHORT)} |", f"|{' --- |' * len(_SHORT)}"]
    body = [" | ".join(_value(line, " to ") if key == "value" else line[key] for key in _SHORT) for line in lines]
    note = "Figures in percent; in brackets 95 % intervals by bootstrap over images (up to 1,000 resamples, seed 0)."
    return "\n".join([*head, *(f"| {row.replace(chr(10), ' ')} |" for row in body), "", note]) + "\n"


def _csv(lines: Sequence[dict[str, str]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _latex(lines: Sequence[dict[str, str]]) -> str:
    columns = ("dataset", "split", "model", "metric", "value", "n", "prompts")
    body = [
        " & ".join(_escaped(_value(line, "--") if key == "value" else line[key]) for key in columns) + r" \\"
        for line in lines
    ]
    head = [r"\begin{tabular}{" + "l" * len(columns) + "}", r"\toprule", " & ".join(columns) + r" \\", r"\midrule"]
    note = "% Percent; 95 % intervals by bootstrap over images. Preprocessing and hashes are in table.csv."
    return "\n".join([note, *head, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "_%&#$" else sign for sign in text)
