"""D2. Binary density estimation: eight sets with fixed splits, exact nats a row beside Chow and Liu's tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

import fourfold
from fourfold.data import Dataset, Split
from fourfold.spaces import Table
from fourfold.spaces.columns import Categorical
from published_rows import Anchor, Line, Options, Row, chosen, interval, located

Bits = npt.NDArray[np.int64]
ORIGIN = "UCLA-StarAI/Density-Estimation-Datasets, datasets/NAME/NAME.PART.data, compressed by gzip"
TREES = {
    "nltcs": -6.7590,
    "plants": -16.5240,
    "baudio": -44.3749,
    "bnetflix": -60.2503,
    "jester": -58.2265,
    "accidents": -33.1881,
    "pumsb_star": -30.8070,
}
"""Test nats of Chow and Liu's tree, ndbaker1/CS6375-Machine-Learning, project4/part2/Report.md."""
SPNS = {"accidents": (-37.58, "6.7 s"), "dna": (-99.02, "")}
"""LearnSPN, deeprob-org/deeprob-kit, results.json of its commit 757e31a."""


@dataclass(frozen=True)
class Setting:
    """A recipe, its size and its steps."""

    recipe: str
    size: str
    steps: int

    def __str__(self) -> str:
        return f"{self.recipe} {self.size}, {self.steps} steps"


CANDIDATES = (Setting("autoregressive", "xs", 300),)


def part(name: str, which: str, options: Options) -> Bits:
    """Rows of zeros and ones."""
    path = located(options, f"binary/{name}.{which}.data.gz", ORIGIN)
    return np.loadtxt(path, delimiter=",", dtype=np.int64)


def chow_liu(train: Bits, test: Bits) -> Tensor:
    """Nats of test rows by the tree of most mutual information, with one more of each pair of values.

    Chow and Liu 1968, Approximating discrete probability distributions with dependence trees.
    """
    n, d = train.shape
    counts = np.stack([[(1 - train).T @ (1 - train), (1 - train).T @ train], [train.T @ (1 - train), train.T @ train]])
    pairs = (counts + 1) / (n + 4)
    single = (np.stack([n - train.sum(0), train.sum(0)]) + 2) / (n + 4)
    independent = single[:, None, :, None] * single[None, :, None, :]
    information = (pairs * np.log(pairs / independent)).sum((0, 1))
    np.fill_diagonal(information, 0)
    tree = minimum_spanning_tree(-np.triu(information, 1)).tocoo()
    nats = np.log(single[test, np.arange(d)]).sum(1)
    for i, j in zip(tree.row, tree.col, strict=True):
        joint = pairs[test[:, i], test[:, j], i, j]
        nats += np.log(joint / single[test[:, i], i] / single[test[:, j], j])
    return torch.from_numpy(nats)


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """Chow and Liu's tree, where it is published."""
    if name in TREES:
        ours = chow_liu(part(name, "train", options), part(name, "test", options)).mean().item()
        yield Anchor("Chow-Liu tree, nats", TREES[name], ours, 1e-4)


def dataset(name: str, options: Options) -> Dataset:
    """The table of a set in its published parts."""
    parts = [torch.from_numpy(part(name, which, options)) for which in ("train", "valid", "test")]
    columns = tuple(Categorical(f"bit {i}", dtype="int64", categories=("0", "1")) for i in range(parts[0].shape[1]))
    return Dataset(name, Table(columns, observed=len(parts[0])), *map(Split, parts), digest="", source="files")


def measure(name: str, options: Options) -> Iterator[Line]:
    """The tree again, and the setting that validation rows choose."""
    tree = chow_liu(part(name, "train", options), part(name, "test", options))
    yield Line(name, "Chow-Liu tree, ours", {"nats": interval([tree])}, "exact", reference=True, seeds=1)
    data = dataset(name, options)

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        budget = options.steps(setting.steps)
        return fourfold.fit(setting.recipe, data, budget=budget, size=setting.size, seed=seed, progress=False)

    def validation(run: fourfold.Run) -> float:
        return -run.log_prob(data.validation.x).nats.mean().item()

    winner = chosen(CANDIDATES, fit, validation, options)
    nats = [run.log_prob(data.test.x).nats for run in winner.runs]
    figures = {"nats": interval(nats), "above the tree": interval([each - tree for each in nats])}
    yield Line(name, f"fourfold {winner.setting}", figures, "exact", winner.cost, seeds=len(winner.runs))


ROW = Row(
    title="Binary density estimation (D2)",
    figure="nats",
    lower=False,
    protocol="Mean log-probability of the test rows in nats, fixed training, validation and test parts.",
    source="ndbaker1/CS6375-Machine-Learning, project4/part2/Report.md (a student's report; the tree is recomputed to "
    "four digits); deeprob-org/deeprob-kit at 757e31a, results.json of LearnSPN",
    data=ORIGIN,
    chosen="recipe and size by the validation rows of nltcs, plants and dna (docs/notes); weights by those of each set",
    interval="95 % over test rows; above the tree: of paired differences",
    sets=(*TREES, "dna"),
    published=(
        *(Line(n, "Chow-Liu tree", {"nats": v}, "exact", source="CS6375 report") for n, v in TREES.items()),
        *(Line(n, "LearnSPN", {"nats": v}, "exact", s, source="deeprob-kit") for n, (v, s) in SPNS.items()),
    ),
    anchors=anchors,
    measure=measure,
)
