"""T5. SDGym's simulated sets: Bayesian networks and mixtures of normals, whose likelihoods are known."""

from __future__ import annotations

import functools
import gzip
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.mixture import GaussianMixture

import fourfold
from fourfold.data import Dataset, Split
from fourfold.spaces import Table, Vectors
from fourfold.spaces.columns import Categorical
from published_rows import Anchor, Line, Options, Row, chosen, located, together

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
ORIGIN = "the wheel of pgmpy 1.1.2, pgmpy/utils/example_models/*.bif.gz, in the folder networks; mixtures are drawn"
NETWORKS, MIXTURES = ("asia", "alarm", "child", "insurance"), ("grid", "gridr", "ring")
ROWS, LEAST = 10_000, 1e-8
VARIANCE = 0.05
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "Identity (real rows)": {
        "asia": (-2.235, -2.242),
        "alarm": (-10.232, -10.300),
        "child": (-12.031, -12.043),
        "insurance": (-12.850, -12.958),
        "grid": (-3.470, -3.486),
        "gridr": (-3.593, -3.641),
        "ring": (-1.711, -1.703),
    },
    "TVAE": {
        "asia": (-2.293, -2.266),
        "alarm": (-11.442, -10.761),
        "child": (-12.459, -12.296),
        "insurance": (-14.295, -14.237),
        "grid": (-3.268, -5.658),
        "ring": (-1.580, -1.940),
    },
    "PrivBN": {
        "asia": (-2.294, -2.245),
        "alarm": (-12.154, -11.140),
        "child": (-12.360, -12.188),
        "insurance": (-14.702, -13.637),
        "grid": (-3.994, -8.308),
    },
    "CTGAN": {
        "asia": (-2.693, -2.312),
        "alarm": (-15.220, -12.928),
        "child": (-13.808, -12.812),
        "insurance": (-16.598, -14.841),
        "grid": (-8.918, -5.089),
        "ring": (-7.131, -2.704),
    },
    "MedGAN": {
        "asia": (-1.574, -5.966),
        "alarm": (-7.839, -13.255),
        "child": (-11.113, -12.987),
        "insurance": (-13.884, -15.078),
        "grid": (-5.829, -90.342),
        "ring": (-2.780, -149.767),
    },
}
"""The likelihood of samples under the truth, and of test rows under a refit: leaderboard.csv of v0.2.2."""


# --- Bayesian networks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A variable: its place, those of its parents, and its table ``(*parents, states)``."""

    place: int
    parents: tuple[int, ...]
    table: Floats


@functools.cache
def network(name: str, options: Options) -> list[Node]:
    """A network of a file in the interchange format, each node after its parents."""
    path = located(options, f"networks/{name}.bif.gz", ORIGIN)
    text = gzip.decompress(path.read_bytes()).decode()
    states = {
        found[1]: [state.strip() for state in found[2].split(",")]
        for found in re.finditer(r"variable (\S+) \{\s*type discrete \[ \d+ \] \{([^}]*)\}", text)
    }
    places, nodes = {variable: i for i, variable in enumerate(states)}, []
    for head, body in re.findall(r"probability \(([^)]*)\) \{(.*?)\n\}", text, re.DOTALL):
        child, *parents = re.split(r"[|,]\s*", head.replace(" ", ""))
        table = np.zeros([len(states[variable]) for variable in (*parents, child)])
        for given, numbers in re.findall(r"(?:\(([^)]*)\)|table)\s*([^;]*);", body):
            values = [value.strip() for value in given.split(",")] if given else []
            place = tuple(states[parent].index(value) for parent, value in zip(parents, values, strict=True))
            table[place] = [float(number) for number in numbers.split(",")]
        nodes.append(Node(places[child], tuple(places[parent] for parent in parents), table))
    return ordered(nodes)


def ordered(nodes: list[Node]) -> list[Node]:
    """Each node after its parents."""
    ready: list[Node] = []
    while len(ready) < len(nodes):
        before = {node.place for node in ready}
        ready += [node for node in nodes if node.place not in before and before.issuperset(node.parents)]
    return ready


def sampled(nodes: list[Node], n: int, seed: int) -> Codes:
    """Rows of a network, by the inverse of each conditional distribution."""
    random, rows = np.random.default_rng(seed), np.zeros((n, len(nodes)), dtype=np.int64)
    for node in nodes:
        p = node.table[tuple(rows[:, parent] for parent in node.parents)] if node.parents else node.table
        sums = np.broadcast_to(p, (n, node.table.shape[-1])).cumsum(1)
        rows[:, node.place] = (random.random((n, 1)) * sums[:, -1:] >= sums).sum(1)
    return rows


def probabilities(nodes: list[Node], rows: Codes) -> Floats:
    """The probability of each row."""
    factors = [node.table[tuple(rows[:, place] for place in (*node.parents, node.place))] for node in nodes]
    return np.prod(factors, axis=0)


def counted(nodes: list[Node], rows: Codes) -> list[Node]:
    """The same network with tables that are counted in rows. Parents without a row give even tables."""
    tables = []
    for node in nodes:
        table = np.zeros(node.table.shape)
        np.add.at(table, tuple(rows[:, place] for place in (*node.parents, node.place)), 1)
        sums = table.sum(-1, keepdims=True)
        tables.append(np.where(sums > 0, table / np.maximum(sums, 1), 1 / table.shape[-1]))
    return [Node(node.place, node.parents, table) for node, table in zip(nodes, tables, strict=True)]


# --- mixtures ---------------------------------------------------------------------------------------------------------


def points(name: str, n: int, seed: int) -> Floats:
    """Normals of variance .05 around eight places of a ring, or 25 of a grid, which gridr moves by up to a half."""
    random = np.random.default_rng(seed)
    if name == "ring":
        angles = np.arange(8) * (2 * math.pi / 8)
        centres = np.stack([np.cos(angles), np.sin(angles)], 1)
    else:
        centres = np.array(list(itertools.product(range(-4, 5, 2), repeat=2)), dtype=float)
    if name == "gridr":  # the places are those of numpy's old generator with seed 0, as published
        centres = centres + np.random.RandomState(0).rand(25, 2) - 0.5
    return centres[random.integers(len(centres), size=n)] + math.sqrt(VARIANCE) * random.normal(size=(n, 2))


def mixture(x: Floats, y: Floats) -> float:
    """The mean log-likelihood of y under mixtures of 10 and of 30 components that are fitted to x."""
    fits = (GaussianMixture(count, covariance_type="diag", random_state=0).fit(x) for count in (10, 30))
    return float(np.mean([fit.score(y) for fit in fits]))


# --- the row ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A size and steps of the autoregressive model."""

    size: str
    steps: int

    def __str__(self) -> str:
        return f"autoregressive {self.size}, {self.steps} steps"


CANDIDATES = (Setting("xs", 600),)


def rows(name: str, seed: int, options: Options) -> Codes | Floats:
    """10,000 rows of the truth."""
    return sampled(network(name, options), ROWS, seed) if name in NETWORKS else points(name, ROWS, seed)


def scores(name: str, samples: Codes | Floats, options: Options) -> tuple[float, float]:
    """The likelihood of samples under the truth (of mixtures: a refit to test rows), of test rows under a refit."""
    test = rows(name, 1, options)
    if name in MIXTURES:
        return mixture(test, samples), mixture(samples, test)
    nodes = network(name, options)
    pairs = ((nodes, samples), (counted(nodes, samples), test))
    first, second = (float(np.log(probabilities(law, some) + LEAST).mean()) for law, some in pairs)
    return first, second


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """Both likelihoods of real rows in the place of samples: equal but for the noise of other rows."""
    names = ("samples under the truth", "test rows under a refit")
    tolerance = 0.12 if name in NETWORKS else 0.08  # mixtures have random starts
    ours = scores(name, rows(name, 0, options), options)
    for figure, published, value in zip(names, PUBLISHED["Identity (real rows)"][name], ours, strict=True):
        yield Anchor(f"{figure}, real rows", published, value, tolerance)


def figures(both: tuple[float, float], real: tuple[float, float]) -> dict[str, float]:
    """Both likelihoods, first how far they lie from those of real rows together."""
    apart = sum(abs(a - b) for a, b in zip(both, real, strict=True))
    return {"apart from real rows": apart, "samples under the truth": both[0], "test rows under a refit": both[1]}


def dataset(name: str, options: Options) -> Dataset:
    """Nine tenths of the training rows, a tenth that chooses the weights, and test rows."""
    train, test = (torch.from_numpy(rows(name, seed, options)) for seed in (0, 1))
    if name in MIXTURES:
        space: Vectors | Table = Vectors(2)
        train, test = train.float(), test.float()
    else:
        counts = {node.place: node.table.shape[-1] for node in network(name, options)}
        states = [tuple(map(str, range(counts[place]))) for place in range(len(counts))]
        columns = (Categorical(f"v{i}", dtype="int64", categories=some) for i, some in enumerate(states))
        space = Table(tuple(columns), observed=len(train))
    tenth = len(train) // 10
    return Dataset(name, space, Split(train[tenth:]), Split(train[:tenth]), Split(test), digest="", source="drawn")


def measure(name: str, options: Options) -> Iterator[Line]:
    """Real rows again, and the autoregressive model."""
    real = scores(name, rows(name, 0, options), options)
    yield Line(name, "real rows, ours", figures(real, real), reference=True, seeds=1)
    data = dataset(name, options)

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        budget = options.steps(setting.steps)
        return fourfold.fit("autoregressive", data, budget=budget, size=setting.size, seed=seed, progress=False)

    winner = chosen(CANDIDATES, fit, lambda run: 0.0, options)
    drawn = [scores(name, run.sample(ROWS, seed=0).numpy(), options) for run in winner.runs]
    values = [figures(both, real) for both in drawn]
    yield Line(name, f"fourfold {winner.setting}", together(values), seconds=winner.cost, seeds=len(winner.runs))


IDENTITY = "Identity (real rows)"
ROW = Row(
    title="SDGym's simulated sets (T5)",
    figure="apart from real rows",
    lower=True,
    protocol="10,000 rows each to train and to test. The mean log-likelihood of samples under the truth, and of test "
    "rows under the same network or mixture refitted to samples. Alone, the first rewards dropped modes. The figure "
    "that decides is ours: how far both lie from those of real rows, added.",
    source="sdv-dev/SDGym at v0.2.2, sdgym/leaderboard.csv",
    data=ORIGIN,
    chosen="none: the preset of size xs, 600 steps; a tenth of the training rows chooses the weights",
    interval="least and most of the seeds",
    sets=(*NETWORKS, *MIXTURES),
    published=tuple(
        Line(
            name,
            system,
            figures(both, PUBLISHED[IDENTITY][name]),
            source="leaderboard.csv",
            reference=system == IDENTITY,
        )
        for system, sets in PUBLISHED.items()
        for name, both in sets.items()
    ),
    anchors=anchors,
    measure=measure,
    differs={"split": "rows drawn anew from the same laws"},
)
