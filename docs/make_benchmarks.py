"""Write docs/benchmarks.md from benchmarks/results/*.json: one table a file. ``--check`` only compares.

A result is ``{"title", "order", "machine", "date", "seeds", "command", "columns", "rows", "notes"}``; a benchmark that keeps
more puts it beside these.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
PAGE = Path(__file__).with_name("benchmarks.md")
HEAD = """# Benchmarks

`docs/make_benchmarks.py` writes this page from `benchmarks/results/*.json`. `benchmarks/README.md` describes the protocols.
"""


def section(result: dict[str, Any]) -> str:
    """One result as Markdown: where, when and how it was measured, the table, the notes."""
    seeds = "one run each" if result["seeds"] == 1 else f"{result['seeds']} seeds"
    command = f" Command: `{result['command']}`." if result["command"] else ""
    columns = [f"`{c}`" if c == "command" else c for c in result["columns"]]
    rows = [[_cell(name, cell) for name, cell in zip(result["columns"], row, strict=True)] for row in result["rows"]]
    table = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        [
            f"## {result['title']}\n",
            f"{result['machine']}; {result['date']}; {seeds}.{command}\n",
            *("| " + " | ".join(map(str, row)) + " |" for row in table),
            *(f"\n{note}" for note in result["notes"]),
            "",
        ]
    )


def _cell(column: str, cell: object) -> str:
    return f"`{cell}`" if column == "command" and cell else str(cell)


def page() -> str:
    """The whole page, results in their order."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))]
    return "\n".join([HEAD, *(section(result) for result in sorted(results, key=lambda r: (r["order"], r["title"])))])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/benchmarks.md is out of date: run python docs/make_benchmarks.py")
