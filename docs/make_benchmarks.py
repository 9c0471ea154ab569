"""Write docs/benchmarks.md from benchmarks/results/*.json: one table a file. ``--check`` only compares.

A result is a mapping of figures, or holds ``rows``, which are lists beside ``columns`` or mappings, and as much of
``title``, ``order``, ``machine``, ``date``, ``seeds``, ``command`` and ``notes`` as is known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
PAGE = Path(__file__).with_name("benchmarks.md")
HEAD = (
    "# Benchmarks\n\n`docs/make_benchmarks.py` writes this page from `benchmarks/results/*.json`. "
    "`benchmarks/README.md` describes the protocols.\n"
)


def section(name: str, result: dict[str, Any]) -> str:
    """One result as Markdown: where, when and how it was measured, the table, the notes."""
    result = result if "rows" in result else {"rows": list(figures(result))}
    first = result["rows"][0]
    columns = list(first) if isinstance(first, dict) else result["columns"]
    rows = [list(row.values()) if isinstance(row, dict) else row for row in result["rows"]]
    seeds = result.get("seeds")
    about = [
        result.get("machine"),
        result.get("date"),
        "one run each" if seeds == 1 else seeds and f"{seeds} seeds",
        result.get("command") and f"command: `{result['command']}`",
    ]
    cells = [[_cell(column, cell) for column, cell in zip(columns, row, strict=True)] for row in rows]
    return "\n".join(
        [
            f"## {result.get('title', name.capitalize())}\n",
            "; ".join(part for part in about if part) + "\n",
            *("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *cells)),
            *(f"\n{note}" for note in result.get("notes", [])),
            "",
        ]
    )


def figures(result: dict[str, Any], within: str = "") -> Iterator[dict[str, Any]]:
    """The rows of a result that is a mapping of figures, maybe nested; a list is its range."""
    for key, value in result.items():
        name = within + key.replace("_", " ")
        if isinstance(value, dict):
            yield from figures(value, f"{name}: ")
        elif isinstance(value, list):
            yield {"figure": name, "value": f"{min(value)} to {max(value)} ({len(value)} values)"}
        else:
            yield {"figure": name, "value": value}


def _cell(column: str, cell: object) -> str:
    if cell is None or cell == "":
        return ""
    text = f"{cell:.4g}" if isinstance(cell, float) else str(cell)
    return f"`{text}`" if column == "command" else text


def page() -> str:
    """The whole page, results in their order."""
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    ordered = sorted(results.items(), key=lambda pair: pair[1].get("order", 9))
    return "\n".join([HEAD, *(section(name, result) for name, result in ordered)])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/benchmarks.md is out of date: run python docs/make_benchmarks.py")
