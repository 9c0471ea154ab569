"""Published rows beside ours: one row of a paper, its anchor recomputed, then our models on the same data.

    python benchmarks/published.py ROW --data FOLDER [--only SET,SET] [--seeds 3] [--judge ENVIRONMENT]
    python benchmarks/published.py all --data FOLDER
    python benchmarks/published.py all --data FOLDER --anchors      # the anchors alone: seconds to minutes

Each row first recomputes a published figure that needs no training, and stops if ours differs: data, split and metric
are then the same. Settings are chosen by validation data (``published_rows.chosen``). Results go to
``results/published.json``, from which ``docs/make_benchmarks.py`` writes ``docs/published.md``. FOLDER holds the files
of the rows, and a missing one is named with its origin. A row is a file of ``published_rows``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from provenance import commit
from published_rows import Anchor, Line, Missing, Options, Row, Value

from fourfold.machine.hardware import machine
from fourfold.runs.files import write_json

RESULTS = Path(__file__).parent / "results" / "published.json"
ROWS = tuple(sorted(file.stem for file in (Path(__file__).parent / "published_rows").glob("[a-z]*.py")))


class Differs(SystemExit):
    """An anchor that does not agree with what is published."""


def row_of(name: str) -> Row:
    """The row of a file of ``published_rows``."""
    row: Row = importlib.import_module(f"published_rows.{name}").ROW
    return row


def checked(anchors: Iterator[Anchor]) -> Iterator[Anchor]:
    """The anchors, each printed.

    Raises:
        Differs: at the first that does not agree.
    """
    for anchor in anchors:
        print(f"  anchor {anchor.name}: published {anchor.published}, ours {anchor.ours:.6g}", flush=True)
        if not anchor.agrees:
            raise Differs(f"{anchor.name} must be {anchor.published} ± {anchor.tolerance:g}, got {anchor.ours:.6g}")
        yield anchor


def measured(row: Row, name: str, options: Options, anchors_alone: bool) -> dict[str, Any]:
    """The anchors and our lines of one set, and where and when they were measured."""
    print(f"{row.title}: {name}", flush=True)
    start = time.process_time()
    anchors = [asdict(anchor) for anchor in checked(row.anchors(name, options))]
    if anchors_alone:
        return {"anchors": anchors}
    lines = []
    for line in row.measure(name, options):
        figures = ", ".join(f"{name} {shown(value)}" for name, value in line.figures.items())
        print(f"  {line.system}: {figures}; {line.seconds}", flush=True)
        lines.append(described(row, line))
    about = {
        "machine": f"{machine()['cpu']}, {os.cpu_count()} cores, no GPU",
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "processor seconds in all": round(time.process_time() - start),
    }
    return {"anchors": anchors, "lines": lines, **about}


def shown(value: Value) -> str:
    """A figure with its interval."""
    return "{:.5g} [{:.5g}, {:.5g}]".format(*value) if isinstance(value, tuple) else str(value)


def described(row: Row, line: Line) -> dict[str, Any]:
    """A line as the results hold it: a line of ours says what is the same as in the published ones."""
    same = {} if line.source else dict.fromkeys(("data", "split", "metric"), "yes")
    differs = {} if line.source else {part: f"no: {why}" for part, why in {**row.differs, **line.differs}.items()}
    return {**asdict(line), "differs": None, "same": same | differs}


def save(path: Path, name: str, row: Row, sets: dict[str, dict[str, Any]]) -> None:
    """Write the sets of a row, in the place of earlier ones. Anchors alone leave the earlier lines."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    before = results.get(name, {}).get("sets", {})
    together = {key: {**before.get(key, {}), **sets.get(key, {})} for key in row.sets if key in before or key in sets}
    about = {key: getattr(row, key) for key in ABOUT}
    published = [described(row, line) for line in row.published]
    results[name] = {**about, "command": f"python benchmarks/published.py {name}", "published": published}
    results[name]["sets"] = together
    write_json(path, dict(sorted(results.items())))


def selected(row: Row, only: str | None) -> list[str]:
    """The sets that are named by commas, each by its name up to a comma of its own. Without names: all.

    Raises:
        SystemExit: for a name that no set begins with.
    """
    names = only.split(",") if only else []
    firsts = {key: key.split(",")[0] for key in row.sets}
    if unknown := [name for name in names if name not in firsts.values()]:
        raise SystemExit(f"--only must name sets of {row.title}: {', '.join(set(firsts.values()))}; got {unknown[0]!r}")
    return [key for key, first in firsts.items() if not names or first in names]


ABOUT = ("title", "figure", "lower", "protocol", "source", "data", "chosen", "interval", "notes", "ideals")
"""The parts of a row that the page shows."""


def main() -> None:
    """Measure the rows, and name those whose data is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", metavar="ROW", help=f"all, or some by commas: {', '.join(ROWS)}")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", help="names of sets up to their first comma, by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--judge", type=Path, help="the environment of mostlyai-qa and lightgbm, which pip fills")
    parser.add_argument("--anchors", action="store_true", help="recompute the anchors alone")
    parser.add_argument("--quick", action="store_true", help="take 20 steps, to try the code: needs another --out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    if chosen.quick and chosen.out == RESULTS:
        parser.error("--quick must have an --out of its own: its figures are no results")
    options, missing = Options(chosen.data, chosen.seeds, chosen.judge, chosen.quick), []
    names = ROWS if chosen.rows == "all" else chosen.rows.split(",")
    if unknown := sorted(set(names) - set(ROWS)):
        parser.error(f"ROW must be all or among {', '.join(ROWS)}, got {unknown[0]!r}")
    for name in names:
        row = row_of(name)
        for key in selected(row, chosen.only):
            try:
                save(chosen.out, name, row, {key: measured(row, key, options, chosen.anchors)})
            except (Missing, Differs) as error:
                missing.append(f"{name}, {key}: {error}")
    if missing:
        raise SystemExit("not measured:\n" + "\n".join(missing))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
