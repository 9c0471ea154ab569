"""T2. Two of these tables by MOSTLY AI's benchmark of 2023: three-way marginals, and a target."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from published_rows import Anchor, Line, Options, Row, located, together
from published_rows.halves import cost, drawn, judged, nearness

ORIGIN = "mostly-ai/paper-fidelity-accuracy, 2023-05/data, in the folder tables-2023"
TARGETS = {"adult": ("income", ">50K"), "online-shoppers": ("Revenue", "True")}
BINS = 5
STORED = {
    "adult": {
        "original": (0.0208951, 0.9240097),
        "mostly": (0.0204468, 0.9190448),
        "synthpop": (0.0185453, 0.9144203),
        "gretel": (0.0993526, 0.8911914),
        "tvae": (0.1286776, 0.8881470),
        "copulagan": (0.1748681, 0.8873364),
        "ctgan": (0.1492058, 0.8834972),
        "rtvae": (0.2567402, 0.8539356),
        "gaussian_copula": (0.3302919, 0.7549431),
    },
    "online-shoppers": {
        "original": (0.0289587, 0.9251889),
        "synthpop": (0.0180103, 0.9236066),
        "mostly": (0.0326796, 0.9217840),
        "rtvae": (0.2227852, 0.8935278),
        "gaussian_copula": (0.2768843, 0.8704664),
        "tvae": (0.2939350, 0.7124746),
        "ctgan": (0.1993981, 0.6962167),
    },
}
"""Distance of three-way marginals (of held-out rows for the original) and AUC: results.csv.gz and ml.csv.gz."""
NEARNESS = {"adult": ("synthpop", 0.6038)}
"""The share of synthpop's rows that lie nearer to training rows."""
Codes = npt.NDArray[np.int64]


def table(name: str, which: str, options: Options) -> Path:
    """A half, or the synthetic table of an engine."""
    return located(options, f"tables-2023/{name}_{which}.csv.gz", ORIGIN)


def halves(name: str, options: Options) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training half and the held-out one."""
    train, held_out = (pd.read_csv(table(name, which, options)) for which in ("trn", "val"))
    return train, held_out


def codes(train: pd.Series, other: pd.Series) -> list[Codes]:
    """Both columns as bins: of a number the quantiles of the training half, of a category the most frequent there."""
    if pd.api.types.is_numeric_dtype(train) and train.dtype != bool:
        breaks = train.quantile(np.linspace(0, 1, BINS + 1)).unique()
        cuts = [pd.cut(pd.to_numeric(c, "coerce"), bins=breaks, include_lowest=True).cat.codes for c in (train, other)]
        other = pd.to_numeric(other, "coerce")
        cuts[1] = cuts[1].where(~(other < breaks[0]) & ~(other > breaks[-1]), BINS)
        return [c.to_numpy(np.int64) + 1 for c in cuts]
    top = pd.Index(train.astype(str).value_counts().head(BINS).index)
    return [top.get_indexer(c.astype(str)) % (BINS + 1) + 1 for c in (train, other)]


def distance(train: pd.DataFrame, other: pd.DataFrame) -> float:
    """The mean total variation of all three-way marginals."""
    pairs = [codes(train[column], other[column]) for column in train]
    size, total = BINS + 2, []
    for a, b, c in itertools.combinations(pairs, 3):
        cells = [(a[i] * size + b[i]) * size + c[i] for i in range(2)]
        shares = [np.bincount(cell, minlength=size**3) / len(cell) for cell in cells]
        total.append(np.abs(shares[0] - shares[1]).sum() / 2)
    return float(np.mean(total))


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """Held-out rows and one stored table by both figures."""
    train, other = (pd.read_csv(table(name, which, options)) for which in ("trn", "ctgan"))
    held_out, (tvd, auc) = table(name, "val", options), STORED[name]["original"]
    yield Anchor("distance of held-out rows", tvd, distance(train, pd.read_csv(held_out)), 1e-6)
    yield Anchor("distance of CTGAN's table", STORED[name]["ctgan"][0], distance(train, other), 1e-6)
    scores = judged("target", options, held_out, table(name, "trn", options), *TARGETS[name])
    if name in NEARNESS:
        engine, share = NEARNESS[name]
        yield Anchor(
            f"nearness of {engine}'s table",
            share,
            nearness(*halves(name, options), pd.read_csv(table(name, engine, options)))[0],
            5e-3,
        )
    yield Anchor("AUC of training rows", auc, scores["auc"], 1e-6)


def measure(name: str, options: Options) -> Iterator[Line]:
    """Ours by both figures."""
    train = pd.read_csv(table(name, "trn", options))

    def scores(frame: pd.DataFrame) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "synthetic.csv"
            frame.to_csv(path, index=False)
            auc = judged("target", options, table(name, "val", options), path, *TARGETS[name])["auc"]
        return {"target AUC": auc, "three-way distance": distance(train, frame)}

    draws = [drawn(name, seed, options) for seed in range(options.seeds)]
    figures = together([scores(draw.frame) for draw in draws])
    figures["nearness"] = nearness(*halves(name, options), draws[0].frame)
    yield Line(name, f"fourfold autoregressive, {draws[0].steps} steps", figures, seconds=cost(draws), seeds=len(draws))


ROW = Row(
    title="Two of these tables by three-way marginals and a target (T2)",
    figure="target AUC",
    lower=False,
    protocol="The mean total variation of three-way marginals, five bins a column (held-out rows for the original), "
    "and the AUC of the target on held-out rows by lightgbm that learned it from 50,000 synthetic rows.",
    source="mostly-ai/paper-fidelity-accuracy at c31860c, 2023-05: results.csv.gz, ml.csv.gz, evaluate.ipynb",
    data=ORIGIN,
    chosen="none: the preset, size auto",
    interval="least and most of the seeds; of the nearness 95 % over rows of one training",
    sets=tuple(STORED),
    published=tuple(
        Line(
            name,
            engine,
            {"target AUC": auc, "three-way distance": tvd},
            source="2023-05",
            reference=engine == "original",
        )
        for name, engines in STORED.items()
        for engine, (tvd, auc) in engines.items()
    ),
    anchors=anchors,
    measure=measure,
    notes=(
        "synthpop is nearer to the training rows than held-out rows are: 60 % of its rows lie nearer to training "
        "rows than to the others.",
    ),
)
