"""Learn the atlas's weights from the lessons under version control, to the byte.

    python tools/learn_atlas.py                 # writes src/fourfold_atlas/weights.tsv
    python tools/learn_atlas.py --ablations     # held-out figures of each layer, by system

``log p(cell) = b + W x + U v + A (x R)``: words ``x`` and votes ``v`` as in ``fourfold_atlas.wording``, and ``R`` the
words rated by hand for what they tell (``lessons/ratings.tsv``: ``AR2`` speaks for autoregressive, ``DI-1`` against
diffusion), so that a word that few lessons hold has a weight all the same. The table holds ``W + R A``. Multinomial
logistic regression with an L2 penalty (scikit-learn).

The bytes do not depend on the machine. Lessons and features have a fixed order; numbers are float64; Newton steps
follow scikit-learn's fit until the gradient is below ``EXACT``. The penalised loss is strongly convex with modulus
one, so every weight is then within ``EXACT`` of the optimum, and it is written as a multiple of ``UNIT``, which is
ten orders of magnitude larger.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.linear_model import LogisticRegression

from fourfold_atlas.evidence import CLAIMS, Cell
from fourfold_atlas.votes import weigh
from fourfold_atlas.wording import CELLS, LINE, UNIT, TextKind, mechanism, text_kind

HERE = Path(__file__).parent
LESSONS, RATINGS = HERE / "lessons" / "lessons.jsonl.xz", HERE / "lessons" / "ratings.tsv"
WEIGHTS = HERE.parent / "src" / "fourfold_atlas" / "weights.tsv"
CODES = ("AR", "LV", "AD", "DI", "FL", "EN", "NO")
#: the gradient at which Newton's method ends
EXACT = 1e-10

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """Settings of the learner: the features that count, and their scales.

    Attributes:
        words: whether the words count.
        rated: scale of the ratings, zero for none.
        votes: which votes count: any of ``rule`` and ``cell``.
        stated: scale of the votes: the smaller, the more the penalty holds them back.
        balance: how far the weights of rare cells are raised, from 0 to 1.
        lines: the weight of a line beside a reading of a card or a piece of code.
    """

    words: bool = True
    rated: float = 0.3
    votes: tuple[str, ...] = ("rule", "cell")
    stated: float = 0.4
    balance: float = 0.4
    lines: float = 3.0


@dataclass(frozen=True)
class Example:
    """One text in one reading: its words, its votes as features, its cell."""

    system: str
    kind: TextKind
    cell: Cell
    words: frozenset[str]
    votes: Mapping[str, float]
    source: str = ""
    blanked: bool = False
    head: bool = False


def read_lessons(path: Path = LESSONS) -> list[Example]:
    """Every reading of every lesson, in the order of the file."""
    first, *rows = lzma.decompress(path.read_bytes()).decode("utf-8").splitlines()
    names: list[str] = json.loads(first)["stems"]
    return [example for row in rows for example in _examples(json.loads(row), names)]


def _examples(lesson: Mapping[str, Any], names: list[str]) -> Iterable[Example]:
    for part, text in enumerate(lesson["texts"]):
        words = frozenset(names[i] for i in np.cumsum(text["stems"], dtype=int))
        for reading, votes in enumerate(text["votes"]):
            claims = {CLAIMS[claim]: vote for claim, vote in votes["claims"].items()}
            found = mechanism(votes["rules"], weigh(claims))
            kind, cell = text_kind(lesson["kind"]), Cell(lesson["cell"])
            yield Example(lesson["system"], kind, cell, words, found, lesson["source"], reading == 1, part == 1)


def read_ratings(path: Path = RATINGS) -> dict[str, Array]:
    """Words and what each tells of the seven cells, from -3 to 3."""
    found: dict[str, Array] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, codes = line.split("\t")
        found[word] = np.zeros(len(CELLS))
        for code, value in re.findall(r"([A-Z]{2})(-?\d)", codes):
            found[word][CODES.index(code)] = int(value)
    return found


@dataclass
class Model:
    """The learned table: a row of weights per feature, and how each row of examples becomes a row of numbers."""

    options: Options
    words: dict[str, int] = field(default_factory=dict)
    votes: dict[str, int] = field(default_factory=dict)
    coefficients: Array = field(default_factory=lambda: np.zeros((0, 0)))
    bias: Array = field(default_factory=lambda: np.zeros(0))

    def fit(self, examples: list[Example], ratings: Mapping[str, Array]) -> Model:
        """Learn from examples.

        Raises:
            SystemExit: a cell has no example.
        """
        rated = ratings if self.options.rated else {}
        words = sorted({word for example in examples for word in example.words} | rated.keys())
        self.words = {word: i for i, word in enumerate(words if self.options.words else [])}
        self.votes = {name: i for i, name in enumerate(sorted({name for e in examples for name in self._stated(e)}))}
        target = np.array([CELLS.index(example.cell) for example in examples])
        count = np.bincount(target, minlength=len(CELLS))
        if not count.all():
            raise SystemExit(f"no {CELLS[int(count.argmin())]} lesson to learn from")
        weight = (len(examples) / len(CELLS) / count[target]) ** self.options.balance
        weight /= weight.mean()
        weight *= [self.options.lines if example.kind is LINE else 1.0 for example in examples]
        x = self.matrix(examples, self.options.stated)
        nothing = np.zeros(len(CELLS))
        rows = [self.options.rated * rated.get(word, nothing) for word in self.words]
        by_rating = sp.csr_matrix(np.array([*rows, *[nothing] * len(self.votes)]))
        fitted = _exact(sp.hstack([x, x @ by_rating]).tocsr(), target, weight)
        own = fitted[:, : x.shape[1]] + fitted[:, x.shape[1] : -1] @ by_rating.T.toarray()
        own[:, len(self.words) :] *= self.options.stated
        self.coefficients, self.bias = own, fitted[:, -1]
        return self

    def _stated(self, example: Example) -> dict[str, float]:
        """The votes that count, and the kind of text."""
        found = {name: value for name, value in example.votes.items() if name.split(":")[0] in self.options.votes}
        return {**found, f"kind:{example.kind.name}": 1.0}

    def matrix(self, examples: list[Example], stated: float = 1.0) -> sp.csr_matrix:
        """A row per example: its known words, scaled by how many there are, and its votes."""
        at: list[int] = []
        to: list[int] = []
        value: list[float] = []
        for i, example in enumerate(examples):
            known = sorted(self.words[word] for word in example.words if word in self.words)
            votes = sorted(
                (self.votes[name], vote) for name, vote in self._stated(example).items() if name in self.votes
            )
            at += [i] * (len(known) + len(votes))
            to += [*known, *(len(self.words) + j for j, _ in votes)]
            value += [example.kind.scale / np.sqrt(max(len(known), example.kind.floor))] * len(known)
            value += [stated * vote for _, vote in votes]
        return sp.csr_matrix((value, (at, to)), shape=(len(examples), len(self.words) + len(self.votes)))

    def probabilities(self, examples: list[Example]) -> Array:
        """``p(cell)`` of each example."""
        logits = self.matrix(examples) @ self.coefficients.T + self.bias
        parts = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(parts / parts.sum(1, keepdims=True))

    def lines(self) -> list[str]:
        """The rows of the file: the name of a feature and its weights in units of ``UNIT``, centred over the cells."""
        table = {name: self.coefficients[:, i] for i, name in enumerate([*self.words, *self.votes])}
        table = {name: row + self.bias if name.startswith("kind:") else row for name, row in table.items()}
        rows = {name: [str(round(weight / UNIT)) for weight in row - row.mean()] for name, row in table.items()}
        return ["\t".join([name, *row]) for name, row in sorted(rows.items()) if any(w not in ("0", "-0") for w in row)]


def _exact(x: sp.csr_matrix, target: npt.NDArray[np.int64], weight: Array) -> Array:
    """The minimum of the penalised loss, (cells, features + 1): scikit-learn's fit, then Newton steps.

    The last column is the bias.
    """
    cells = len(CELLS)
    start = LogisticRegression(C=1.0, max_iter=2000, tol=1e-4).fit(x, target, sample_weight=weight)
    w = np.hstack([start.coef_, start.intercept_[:, None]])
    x1 = sp.hstack([x, np.ones((x.shape[0], 1))]).tocsr()
    xt = x1.T.tocsr()
    penalty = np.ones(x1.shape[1])
    penalty[-1] = 0.0
    truth = np.eye(cells)[target]
    for _ in range(50):
        logits = np.asarray(x1 @ w.T)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = np.asarray(xt @ (weight[:, None] * (p - truth))).T + penalty * w
        if np.abs(gradient).max() < EXACT:
            break

        step = _newton(x1, xt, weight, p, penalty, gradient)
        w = w - step
    else:
        raise SystemExit(
            f"Newton's method left a gradient of {np.abs(gradient).max():.1e}; raise the number of its steps"
        )
    w[:, -1] -= w[:, -1].mean()
    return w


def _newton(x: sp.csr_matrix, xt: sp.csr_matrix, weight: Array, p: Array, penalty: Array, gradient: Array) -> Array:
    """The step that solves the quadratic model of the loss, by conjugate gradients."""

    def hessian(flat: Array) -> Array:
        v = flat.reshape(gradient.shape)
        moved = np.asarray(x @ v.T)
        moved = p * (moved - (p * moved).sum(1, keepdims=True))
        return np.asarray((np.asarray(xt @ (weight[:, None] * moved)).T + penalty * v).ravel())

    operator = LinearOperator((gradient.size, gradient.size), matvec=hessian)
    step, _ = cg(operator, gradient.ravel(), rtol=1e-4, maxiter=400)
    return np.asarray(step).reshape(gradient.shape)


def write(model: Model, examples: list[Example], path: Path) -> None:
    """Write the table of weights."""
    count = Counter(example.kind.name for example in examples if not example.blanked and not example.head)
    told = ", ".join(f"{n} {kind}s" if kind != "code" else f"{n} pieces of code" for kind, n in sorted(count.items()))
    head = [
        f"# learned by tools/learn_atlas.py from {told}",
        f"# feature, then its weight in units of {UNIT} for: " + ", ".join(CELLS),
    ]
    path.write_text("\n".join([*head, *model.lines()]) + "\n", encoding="utf-8")


def fold_of(example: Example, folds: int) -> int:
    """The fold in which a system is held out."""
    return crc32(f"{example.system}f".encode()) % folds


def held_out(examples: list[Example], options: Options, ratings: Mapping[str, Array], folds: int = 5) -> Array:
    """Probabilities of each example by a model that has learned from no text of its system."""
    found = np.zeros((len(examples), len(CELLS)))
    for k in range(folds):
        here = [i for i, example in enumerate(examples) if fold_of(example, folds) == k]
        rest = [example for example in examples if fold_of(example, folds) != k]
        if here and rest:
            found[here] = Model(options).fit(rest, ratings).probabilities([examples[i] for i in here])
    return found


GROUPS: Mapping[str, Any] = {
    "cards": lambda e: e.kind.name == "card" and not e.blanked and not e.head,
    "cards, blanked": lambda e: e.kind.name == "card" and e.blanked and not e.head,
    "catalogue": lambda e: e.source.startswith("catalogue:") and "#" not in e.source,
    "lines": lambda e: e.source.startswith("lines:"),
    "code": lambda e: e.kind.name == "code",
    "settings": lambda e: e.kind.name == "settings",
}


def shares(examples: list[Example], found: Array) -> dict[str, float]:
    """The share of right cells, by group of examples."""
    right = np.array([CELLS[p.argmax()] is e.cell and p.max() > 0 for e, p in zip(examples, found, strict=True)])
    return {
        name: float(right[[i for i, e in enumerate(examples) if chosen(e)]].mean()) for name, chosen in GROUPS.items()
    }


def votes_alone(examples: list[Example]) -> Array:
    """The cells' scores without anything learned."""
    return np.array([[example.votes.get(f"cell:{cell}", 0.0) for cell in CELLS] for example in examples])


def ablations(examples: list[Example], ratings: Mapping[str, Array]) -> None:
    """Print held-out figures with layers left out."""
    full = Options()
    rows = {
        "all": full,
        "without words": replace(full, words=False),
        "without ratings": replace(full, rated=0.0),
        "without votes": replace(full, votes=()),
        "without votes by rule": replace(full, votes=("cell",)),
        "without votes by cell": replace(full, votes=("rule",)),
        "lines as other texts": replace(full, lines=1.0),
    }
    print(f"{'':<26}" + "".join(f"{name:>16}" for name in GROUPS))
    _print("votes, nothing learned", shares(examples, votes_alone(examples)))
    for name, options in rows.items():
        _print(name, shares(examples, held_out(examples, options, ratings)))
    apart = np.zeros((len(examples), len(CELLS)))
    for kind in ("card", "line", "code"):
        own = [i for i, example in enumerate(examples) if example.kind.name == kind]
        apart[own] = held_out([examples[i] for i in own], full, ratings)
    _print("a table for each kind", shares(examples, apart))


def _print(name: str, found: Mapping[str, float]) -> None:
    print(f"{name:<26}" + "".join(f"{share:>16.3f}" for share in found.values()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ablations", action="store_true", help="print held-out figures and write nothing")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the file of the weights")
    given = parser.parse_args()
    examples, ratings = read_lessons(), read_ratings()
    if given.ablations:
        ablations(examples, ratings)
        return
    write(Model(Options()).fit(examples, ratings), examples, given.out)


if __name__ == "__main__":
    main()
