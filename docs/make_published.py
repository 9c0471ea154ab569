"""The text of docs/published.md: published rows first, then ours, from benchmarks/results/published.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy

PUBLISHED = Path(__file__).with_name("published.md")
HEAD = """# Published rows beside ours

`docs/make_benchmarks.py` writes this page from `benchmarks/results/published.json`, which comes from
`benchmarks/published.py`.

Each table shows figures that others published, then ours on the same data. Before ours is trained, a figure that needs
no training (an oracle, a naive forecast) is computed again and held against its published value. Each section says how
settings of ours were chosen, and what an interval is. A figure of ours is bold where it is better than every published
one of its set. The first table counts losses like wins. Seconds of others are theirs, on their machines.
"""
PARTS = ("data", "split", "metric")


def published_page(rows: Mapping[str, dict[str, Any]]) -> str:
    """The whole page: what was reached, then a section for each row."""
    return "\n".join([HEAD, *summary(rows), *(section(name, row) for name, row in rows.items())])


def pairs(rows: Mapping[str, dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]]:
    """Of each set that has both: its row, its name, our best line and the best published one."""
    for row in rows.values():
        for name, measured in row["sets"].items():
            ours, theirs = best(row, measured.get("lines", [])), best(row, row["published"], name)
            if ours is not None and theirs is not None:
                yield row, name, ours, theirs


def summary(rows: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """One line for each set: the best published figure, ours, and which is better."""
    yield "## In one table\n"
    yield "Where we show several systems of ours, the best one by the same test data stands here, with their number.\n"
    yield "| row | set | figure | best published | fourfold | better | data, split, metric are the same |"
    yield "| --- " * 7 + "|"
    for row, name, ours, theirs in pairs(rows):
        figures = [text(line["figures"][row["figure"]]) for line in (theirs, ours)]
        same = "yes" if set(ours["same"].values()) == {"yes"} else "no, see below"
        count = sum(not line["reference"] for line in row["sets"][name]["lines"])
        several = f", best of {count}" if count > 1 else ""
        cells = (row["title"], name, direction(row), f"{theirs['system']}: {figures[0]}", figures[1] + several)
        yield "| " + " | ".join((*cells, verdict(row, ours, theirs), same)) + " |"
    yield ""


def counts(rows: Mapping[str, dict[str, Any]]) -> str:
    """One sentence for README: on how many sets ours is better than every published figure, and on how many not."""
    verdicts = [verdict(row, ours, theirs) for row, _, ours, theirs in pairs(rows)]
    better, even = verdicts.count("fourfold"), verdicts.count("not significantly different")
    return (
        f"Beside figures that others published ([every row, and what differs](docs/published.md)): better than each of "
        f"them on {better} of {len(verdicts)} sets, not significantly different on {even}, worse on "
        f"{len(verdicts) - better - even}."
    )


def verdict(row: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The better system, or that the interval of ours holds the figure of the other."""
    value, ends = number(theirs, row["figure"]), ours["figures"][row["figure"]]
    if isinstance(ends, list) and ends[1] <= value <= ends[2]:
        return "not significantly different"
    return "fourfold" if better(row, ours, theirs) else theirs["system"]


def section(name: str, row: dict[str, Any]) -> str:
    """One row: its protocol, a table, and what was measured when."""
    lines = list(ordered(row))
    figures = list(dict.fromkeys(key for line in lines for key in line["figures"]))
    columns = ["set", "system", *figures, "kind", *(f"same {part}" for part in PARTS), "seeds", "seconds", "read in"]
    return "\n".join(
        [
            f"## {row['title']}\n",
            f"{row['protocol']} Intervals: {row['interval']}. Settings of ours: {row['chosen']}. Published figures: "
            f"{row['source']}. Data: {row['data']}. Command: `{row['command']} --data FOLDER`.\n",
            *("| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns))),
            *("| " + " | ".join(cells(row, line, figures)) + " |" for line in lines),
            *(f"\n{note}" for note in (*row["notes"], *ranks(row), *anchors(row), *origins(row))),
            "",
        ]
    )


def ordered(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines by set: published ones, then ours."""
    names = dict.fromkeys([line["data"] for line in row["published"]] + list(row["sets"]))
    for name in names:
        yield from published(row, name)
        yield from row["sets"].get(name, {}).get("lines", [])


def ranks(row: dict[str, Any]) -> Iterator[str]:
    """One table of mean ranks and mean figures, where four systems or more stand in each of eight sets or more."""
    sets = [
        {line["system"]: line for line in (*published(row, name), *measured.get("lines", [])) if not line["reference"]}
        for name, measured in row["sets"].items()
        if measured.get("lines")
    ]
    systems = sorted(set.intersection(*map(set, sets))) if sets else []
    if len(sets) < 8 or len(systems) < 4:
        return
    apart = np.array([[distance(row, lines[system]) for system in systems] for lines in sets])
    values = np.array([[number(lines[system], row["figure"]) for system in systems] for lines in sets], float)
    order, means = scipy.stats.rankdata(apart, axis=1).mean(0), values.mean(0)
    body = [f"| {systems[i]} | {order[i]:.2f} | {means[i]:.4g} |" for i in order.argsort()]
    head = f"| system | mean rank in {len(sets)} sets | mean of {row['figure']} |\n| --- | --- | --- |"
    yield "\n".join([head, *body])


def published(row: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The published lines of a set."""
    return (line for line in row["published"] if line["data"] == name)


def cells(row: dict[str, Any], line: dict[str, Any], figures: Sequence[str]) -> Iterator[str]:
    """The cells of a line."""
    ours = not line["source"]
    theirs = best(row, row["published"], line["data"])
    yield line["data"]
    yield line["system"] if ours else f"*{line['system']}*"
    for figure in figures:
        cell = text(line["figures"].get(figure, ""))
        wins = ours and figure == row["figure"] and not line["reference"] and theirs is not None
        yield f"**{cell}**" if wins and better(row, line, theirs) else cell
    yield from (line["kind"], *(line["same"].get(part, "") for part in PARTS))
    yield from (str(line["seeds"] or ""), line["seconds"], line["source"])


def anchors(row: dict[str, Any]) -> Iterator[str]:
    """One sentence on the anchors of all sets."""
    found = [
        f"{name}: {anchor['name']} {anchor['published']:.6g}, here {anchor['ours']:.6g}"
        for name, measured in row["sets"].items()
        for anchor in measured["anchors"]
    ]
    if found:
        yield "Anchors, published and computed again: " + "; ".join(found) + "."


def origins(row: dict[str, Any]) -> Iterator[str]:
    """Where and when sets were measured, those of one run together."""
    runs: dict[str, list[str]] = {}
    for name, measured in row["sets"].items():
        if "machine" in measured:
            run = f"{measured['machine']}, {measured['date']}, commit {measured['commit']}"
            runs.setdefault(run, []).append(name)
    missing = [name for name, measured in row["sets"].items() if "machine" not in measured]
    for run, names in runs.items():
        yield f"Measured on {run}: {', '.join(names)}."
    if missing:
        yield f"Not measured yet: {', '.join(missing)}."


def best(row: dict[str, Any], lines: Sequence[dict[str, Any]], name: str | None = None) -> dict[str, Any] | None:
    """The best competitor among lines, of one set. ``None`` without one."""
    figure = row["figure"]
    able = [
        line
        for line in lines
        if name in (None, line["data"]) and not line["reference"] and isinstance(number(line, figure), float)
    ]
    return min(able, key=lambda line: distance(row, line), default=None)


def better(row: dict[str, Any], line: dict[str, Any], other: dict[str, Any]) -> bool:
    """True if a line is better than another by the figure that decides."""
    return distance(row, line) < distance(row, other)


def distance(row: dict[str, Any], line: dict[str, Any]) -> float:
    """How far a line is from the best that can be: less is better. An ideal is that of the set."""
    value = number(line, row["figure"])
    assert value is not None
    if row["lower"] is None:
        return abs(value - row["ideals"][line["data"]])
    return value if row["lower"] else -value


def number(line: dict[str, Any], figure: str) -> float | None:
    """The value of a figure, without its interval."""
    value = line["figures"].get(figure)
    value = value[0] if isinstance(value, list) else value
    return float(value) if isinstance(value, int | float) else None


def text(value: Any) -> str:
    """A figure with its interval."""
    if isinstance(value, list):
        middle, low, high = (f"{v:.4g}" for v in value)
        return f"{middle} [{low}, {high}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def direction(row: dict[str, Any]) -> str:
    """The figure that decides, and which way is better."""
    ways = {True: "lower is better", False: "higher is better"}
    return f"{row['figure']}, {ways.get(row['lower'], 'nearer to the ideal is better')}"
