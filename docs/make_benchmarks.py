"""Write docs/benchmarks.md, docs/published.md and the table of README.md from results. ``--check`` only compares.

A result is a mapping of figures, or holds ``rows``, which are lists beside ``columns`` or mappings, and as much of
``title``, ``order``, ``machine``, ``date``, ``commit``, ``seeds``, ``command`` and ``notes`` as is known. Every file is
a table of docs/benchmarks.md. :data:`MEASURED` names the figures that README shows, and nothing there is typed.
``published.json`` holds the rows of ``benchmarks/published.py``, and :mod:`make_published` writes their page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_published import PUBLISHED, counts, published_page

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
PAGE = Path(__file__).with_name("benchmarks.md")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured: written by docs/make_benchmarks.py -->", "<!-- end of measured -->"
HEAD = (
    "# Benchmarks\n\n`docs/make_benchmarks.py` writes this page from `benchmarks/results/*.json`. "
    "`benchmarks/README.md` describes the protocols.\n"
)


@dataclass(frozen=True)
class Comparison:
    """A row of README's table: a figure of fourfold beside that of a peer, from one results file.

    Attributes:
        task: data and budget, for the reader.
        figure: the measure, and which way is better.
        file: the results file.
        ours, peer: the column of the figure, and the values that pick its row.
        name: the peer.
        best: the best value: ``-inf`` where lower is better, ``inf`` where higher is, or the ideal.
    """

    task: str
    figure: str
    file: str
    ours: tuple[str, Mapping[str, str]]
    peer: tuple[str, Mapping[str, str]]
    name: str
    best: float = float("-inf")


def _images(paradigm: str, peer: str) -> Comparison:
    return Comparison(
        f"Fashion-MNIST, 120 s, AMX: {paradigm}",
        "Frechet distance, lower",
        "peers",
        ("Frechet distance", {"kernels": "all", "paradigm": paradigm, "system": "fourfold"}),
        ("Frechet distance", {"kernels": "all", "paradigm": paradigm, "system": peer}),
        {"diffusers": "a U-Net of diffusers", "pythae": "pythae's VAE"}.get(peer, peer),
    )


def _tables(data: str, figure: str, column: str, peer: str, best: float) -> Comparison:
    ours, theirs = ({"data": data, "system": system} for system in ("fourfold autoregressive", peer))
    return Comparison(f"{data}, 120 s", figure, "mixed-tables", (column, ours), (column, theirs), peer, best)


def _text(what: str, task: str, figure: str, name: str, best: float = float("-inf")) -> Comparison:
    return Comparison(task, figure, "language", ("fourfold", {"what": what}), ("beside", {"what": what}), name, best)


SHAKESPEARE = "tiny Shakespeare, nats/character, autoregressive{}, 55 s"
COUNTED = "counted Kneser-Ney"
ARGN = "TabularARGN"
MEASURED = (
    *(_images(p, s) for p, s in (("diffusion", "diffusers"), ("adversarial", "DCGAN"), ("latent-variable", "pythae"))),
    _tables("census", "two-sample AUC, nearer 0.5", "two-sample AUC", ARGN, 0.5),
    _tables("diamonds", "two-sample AUC, nearer 0.5", "two-sample AUC", ARGN, 0.5),
    _tables("diamonds", "quality (sdmetrics), higher", "quality", "SDV's Gaussian copula", float("inf")),
    Comparison(
        "baseball, 297 s: batting given its players",
        "accuracy (mostlyai-qa), higher",
        "databases",
        ("accuracy", {"table": "batting, given its players", "system": "fourfold autoregressive"}),
        ("accuracy", {"table": "batting, given its players", "system": ARGN}),
        ARGN,
        float("inf"),
    ),
    _text(
        SHAKESPEARE.format("/likelihood"),
        "tiny Shakespeare, 55 s: autoregressive/likelihood",
        "nats/character, lower",
        "counted Kneser-Ney",
    ),
    _text(
        SHAKESPEARE.format("/ngrams"),
        "the same: autoregressive/ngrams, the default",
        "nats/character, lower",
        "counted Kneser-Ney",
    ),
    _text(
        "tokens/s at batch 1 with a draft of size xs",
        "text at batch 1, with a draft of size xs",
        "tokens/s, higher",
        "without the draft",
        float("inf"),
    ),
)
"""The comparisons that README shows: those that fourfold wins, and those that it loses."""


SETTINGS = {
    "peers": "Images: pythae by its documentation, DCGAN by its paper, the U-Net of diffusers narrowed by us to what "
    "trains in the time. Ours: presets, which were chosen while we saw test figures of Fashion-MNIST.",
    "mixed-tables": "Tables: every peer by its authors' defaults. Ours: presets, chosen while we saw test figures of "
    "census and diamonds.",
    "databases": "Database: TabularARGN by its authors' defaults, without value protection. Ours: presets.",
    "language": "Text: Kneser-Ney counts n-grams with the discounts of its paper. Ours: presets, chosen while we saw "
    "test figures of tiny Shakespeare.",
}
"""Who chose the settings of the peers of a results file, and which settings of ours saw test figures."""


def measured(results: Mapping[str, dict[str, Any]], rows: Mapping[str, dict[str, Any]]) -> str:
    """The table of README: each figure beside that of a peer, the better one bold, with its origin and its settings."""
    lines = ["| task, 2 cores, no GPU | figure | peer | its figure | fourfold | seeds, commit |", "| --- " * 6 + "|"]
    for row in MEASURED:
        result = results[row.file]
        ours, peer = (_figure(result, *cell) for cell in (row.ours, row.peer))
        wins = ours < peer if row.best == float("-inf") else abs(row.best - ours) < abs(row.best - peer)
        wins = ours > peer if row.best == float("inf") else wins
        values = [f"{peer:.4g}", f"**{ours:.4g}**"] if wins else [f"**{peer:.4g}**", f"{ours:.4g}"]
        seeds = "1 seed" if result["seeds"] == 1 else f"{result['seeds']} seeds"
        origin = f"{seeds}, {result['commit'].removeprefix('recorded in ')}"
        lines.append(f"| {row.task} | {row.figure} | {row.name} | {' | '.join(values)} | {origin} |")
    settings = " ".join(SETTINGS[file] for file in dict.fromkeys(row.file for row in MEASURED))
    return "\n".join([BEGIN, *lines, "", f"{settings} {counts(rows)}", END])


def _figure(result: Mapping[str, Any], column: str, where: Mapping[str, str]) -> float:
    """The one figure of a column in the row that has these values."""
    (row,) = (row for row in result["rows"] if all(row[name] == value for name, value in where.items()))
    return float(row[column])


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
        result.get("commit") and f"commit: {result['commit']}",
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


def page(results: Mapping[str, dict[str, Any]]) -> str:
    """The whole page, results in their order."""
    ordered = sorted(results.items(), key=lambda pair: pair[1].get("order", 9))
    return "\n".join([HEAD, *(section(name, result) for name, result in ordered)])


def readme(text: str, results: Mapping[str, dict[str, Any]], rows: Mapping[str, dict[str, Any]]) -> str:
    """README with its table written anew."""
    before, _, rest = text.partition(BEGIN)
    return before + measured(results, rows) + rest.partition(END)[2]


def main() -> None:
    """Write both files, or say which is out of date."""
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    rows = results.pop("published")
    texts = {PAGE: page(results), README: readme(README.read_text(encoding="utf-8"), results, rows)}
    texts[PUBLISHED] = published_page(rows)
    for path, text in texts.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is out of date: run python docs/make_benchmarks.py")


if __name__ == "__main__":
    main()
