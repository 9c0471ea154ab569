"""T1. Four tables in halves by MOSTLY AI's benchmark of 2024: accuracy by mostlyai-qa.

Under ``processor_time.py`` the budgets of adult and online-shoppers are seconds of one thread of the processor.
"""

from __future__ import annotations

import functools
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from beside import environment, run_peer
from sklearn.compose import ColumnTransformer
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

import fourfold
from published_rows import Anchor, Line, Missing, Options, Row, Value, located, together

ORIGIN = "mostly-ai/paper-fidelity-accuracy, 2024-12/data, in the folder tables"
STEPS = {"adult": 1200, "bank-marketing": 400, "credit-default": 300, "online-shoppers": 300}
"""Steps of the preset."""
BUDGETS = ("60s", "120s")
"""Further budgets of :data:`TIMED`."""
TIMED = ("adult", "online-shoppers")
JUDGED = 5000
"""Rows that the two-sample test looks at, at most."""
NEAR = 20_000
"""Rows that the nearness looks at, at most: its interval is then ± .007."""
JUDGES = ("mostlyai-qa", "lightgbm")
ROWS = 50_000
"""Rows that are drawn. The first of them, as many as trained on, are judged here."""
STORED: Mapping[str, tuple[float, Mapping[str, tuple[float, str]]]] = {
    "adult": (
        0.988,
        {
            "mostlyai": (0.959, "60 at most"),
            "synthcity-ddpm": (0.958, "602"),
            "gretel-TabularDP-e100": (0.943, "1,917"),
            "gretel-NavFT": (0.883, "238"),
            "synthcity-arf": (0.855, "629"),
            "synthcity-bayesian_network": (0.840, "30"),
            "synthcity-ctgan": (0.785, "1,231"),
            "synthcity-nflow": (0.711, "1,305"),
        },
    ),
    "bank-marketing": (
        0.988,
        {
            "mostlyai": (0.970, "60 at most"),
            "synthcity-arf": (0.908, "339"),
            "synthcity-bayesian_network": (0.895, "29"),
        },
    ),
    "credit-default": (
        0.980,
        {
            "mostlyai": (0.940, "60 at most"),
            "synthcity-arf": (0.836, "715"),
            "synthcity-ctgan": (0.758, "1,981"),
            "synthcity-bayesian_network": (0.756, "103"),
        },
    ),
    "online-shoppers": (
        0.974,
        {
            "mostlyai": (0.945, "60 at most"),
            "synthcity-bayesian_network": (0.919, "15"),
            "synthcity-arf": (0.893, "152"),
        },
    ),
}
"""The most that noise allows, and accuracy and seconds of training of each engine: 2024-12/metrics.csv."""


@dataclass(frozen=True)
class Draws:
    """Rows of a model, and what its training took."""

    frame: pd.DataFrame
    seconds: float
    steps: int


def cost(draws: Sequence[Draws]) -> str:
    """Seconds of one training, in words."""
    return f"{statistics.mean(draw.seconds for draw in draws):.0f} of the processor"


@functools.cache
def drawn(name: str, seed: int, options: Options, budget: str | None = None) -> Draws:
    """Train on a half, of which a twentieth chooses the weights, and draw. Without a budget, the steps of the row."""
    train = pd.read_csv(located(options, f"tables/{name}_trn.csv.gz", ORIGIN))
    start = time.process_time()
    data: fourfold.settings.data.DataKeywords = {"fractions": (0.95, 0.05)}
    budget = options.steps(STEPS[name]) if budget is None or options.quick else budget
    run = fourfold.fit("autoregressive", train, budget=budget, seed=seed, progress=False, data_options=data)
    taken = time.process_time() - start
    frame = run.model.space.table(run.sample(ROWS, seed=seed))
    return Draws(frame, taken, run.card["steps"])


def judged(kind: str, options: Options, *arguments: object) -> dict[str, Any]:
    """The scores of ``judge_tables.py`` in its environment.

    Raises:
        Missing: without one, or where it fails.
    """
    if options.judge is None:
        raise Missing(f"no environment for {', '.join(JUDGES)} is named: --judge ENVIRONMENT")
    try:
        python = environment(options.judge, JUDGES)
    except subprocess.CalledProcessError as error:
        raise Missing(f"{', '.join(JUDGES)} could not be installed into {options.judge}") from error
    with tempfile.TemporaryDirectory() as folder:
        scores = run_peer(python, "judge_tables.py", (kind, *arguments, folder), Path(folder))
    if "note" in scores:
        raise Missing(f"judge_tables.py {kind} failed: {scores['note']}")
    return scores


def accuracy(name: str, synthetic: Path, options: Options) -> dict[str, float]:
    """The figures of a synthetic table by name: the mean of those of columns and of pairs, then both."""
    scores = judged("accuracy", options, located(options, f"tables/{name}_trn.csv.gz", ORIGIN), synthetic)
    columns, pairs = scores["univariate"], scores["bivariate"]
    most = (scores["univariate at most"] + scores["bivariate at most"]) / 2
    return {"accuracy": (columns + pairs) / 2, "of columns": columns, "of pairs": pairs, "most": most}


def nearness(train: pd.DataFrame, held_out: pd.DataFrame, synthetic: pd.DataFrame) -> tuple[float, float, float]:
    """The share of synthetic rows that are nearer to a training row than to any held-out row, with its interval.

    Ties count half. The first :data:`NEAR` rows are looked at, and the interval is 95 % over them. Words are one-hot,
    and numbers normal by their quantiles. Of the larger half the last rows are left out.
    """
    n = min(len(train), len(held_out))
    rows = [train[:n].dropna(), held_out[:n].dropna(), synthetic.dropna()[:NEAR]]
    numbers = train.select_dtypes("number").columns
    steps = [("words", OneHotEncoder(), train.columns.difference(numbers))]
    steps += [("numbers", QuantileTransformer(output_distribution="normal"), numbers)]
    points = ColumnTransformer(steps).fit(pd.concat(rows)).transform
    distances = [
        NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points(half)).kneighbors(points(rows[2]))[0]
        for half in rows[:2]
    ]
    nearer = (distances[0] < distances[1]) + (distances[0] == distances[1]) / 2
    share, error = float(nearer.mean()), float(1.96 * nearer.std() / math.sqrt(len(nearer)))
    return share, share - error, share + error


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """The most that noise allows, and the best stored table."""
    best = next(iter(STORED[name][1]))
    stored = accuracy(name, located(options, f"tables/{name}_{best}.csv.gz", ORIGIN), options)
    yield Anchor("the most that noise allows", STORED[name][0], stored["most"], 6e-4)
    yield Anchor(f"accuracy of the table of {best}", STORED[name][1][best][0], stored["accuracy"], 6e-4)


def likeness(train: pd.DataFrame, held_out: pd.DataFrame, synthetic: pd.DataFrame) -> Value:
    """The AUC by which boosted trees tell synthetic rows from held-out ones, with its interval."""
    judgement = fourfold.judge(train, synthetic, held_out=held_out, n=JUDGED, baselines=False)
    score = next(score for score in judgement.scores if score.name.startswith("two_sample_auc"))
    return score.value, score.low, score.high


def measure(name: str, options: Options) -> Iterator[Line]:
    """Ours, on sets of :data:`TIMED` by all budgets, and the best stored table beside it. Budgets have one seed."""
    half, held_out = (pd.read_csv(located(options, f"tables/{name}_{part}.csv.gz", ORIGIN)) for part in ("trn", "hol"))

    def figures(*frames: pd.DataFrame) -> dict[str, Value]:
        accuracies = []
        for frame in frames:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "synthetic.csv"
                frame.head(len(half)).to_csv(path, index=False)
                accuracies.append(accuracy(name, path, options))
        scores = together(accuracies) | {"nearness": nearness(half, held_out, frames[0])}
        auc = {"two-sample AUC": likeness(half, held_out, frames[0].head(len(half)))} if name in TIMED else {}
        return scores | auc

    for budget in (None, *(BUDGETS if name in TIMED else ())):
        draws = [drawn(name, seed, options, budget) for seed in range(options.seeds if budget is None else 1)]
        system = f"fourfold autoregressive, {budget or f'{draws[0].steps} steps'}"
        yield Line(name, system, figures(*(draw.frame for draw in draws)), seconds=cost(draws), seeds=len(draws))
    if name in TIMED:
        best = next(iter(STORED[name][1]))
        stored = pd.read_csv(located(options, f"tables/{name}_{best}.csv.gz", ORIGIN))
        yield Line(name, f"the stored table of {best}, judged here", figures(stored), reference=True)


ROW = Row(
    title="Four tables in halves (T1)",
    figure="accuracy",
    lower=False,
    protocol="Train on one half, draw as many rows, hold them against that half by the functions of mostlyai-qa: the "
    "mean of the accuracies of columns and of pairs of columns in ten bins.",
    source="mostly-ai/paper-fidelity-accuracy at c31860c, 2024-12/metrics.csv",
    data=ORIGIN,
    chosen="none: the preset, size auto",
    interval="least and most of the seeds; of nearness and two-sample AUC 95 % over rows of one training",
    sets=tuple(STORED),
    published=tuple(
        Line(name, engine, {"accuracy": value, "most": most}, seconds=seconds, source="2024-12/metrics.csv")
        for name, (most, engines) in STORED.items()
        for engine, (value, seconds) in engines.items()
    ),
    anchors=anchors,
    measure=measure,
)
