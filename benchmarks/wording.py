"""Learn the atlas's tables of wording: which words keep company with which paradigm, and what each phrase or statement is worth.

    python benchmarks/wording.py --cases cards.jsonl ... [--others texts.jsonl ...] [--out src/fourfold/atlas]
    python benchmarks/wording.py --cases phrases.jsonl ... --table phrasing [--folds 5]
    python benchmarks/wording.py --cases code.jsonl ... --table coding [--folds 5]
    python benchmarks/wording.py --cases more.jsonl ... --table phrasing --onwards 1 [--folds 5]

Cases have the format of ``benchmarks/atlas.py`` and labels given by hand. They are read as data and none of them is kept: a table
holds stems, runs of letters and numbers. Each table learns from its own kind of case: ``wording`` from cards and other prose, ``phrasing`` from phrases
and from the heads of the prose, ``coding`` from code. A card is learned with names, links and paradigm words blanked, and as it stands, so that the
phrases are weighed too; whatever names a paradigm (in prose), a system or an organisation never becomes a row.

Beside the cards stands ``wording_ratings.tsv``: words rated by hand for what they tell, before any case was seen (``AR2`` speaks for
autoregressive, ``DI-1`` against diffusion). They enter as seven more features, the summed ratings of the words that occur, with
``log p(cell) = b + W x + U v + A (x R)`` for words ``x``, stated mechanism ``v`` and ratings ``R``; the table holds ``W + R A``. A word
that is rare in the cases so has a weight all the same. Multinomial logistic regression with an L2 penalty (scikit-learn).

With ``--onwards`` the table that is there is learned further from new cases alone: ``sum -log p(cell) + pull / 2 ||W - W_0||^2``, words it did
not know from zero, so that a lesson need not be kept to have been of use.

With ``--apart`` no lesson copies one of the tests named, or is of its system. With ``--folds`` the cases are held out in turn, those of one source (or, for phrases, of one system) together, and scored, cards also blanked.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from atlas import PARADIGM_WORDS, blanked
from atlas import read_cases as read_labelled
from fourfold.atlas.catalogue import systems
from fourfold.atlas.code import read_statements
from fourfold.atlas.evidence import Cell
from fourfold.atlas.placement import ENOUGH, tally, weigh
from fourfold.atlas.wording import (
    BIAS,
    CELLS,
    CODE,
    PHRASE,
    PROSE,
    Table,
    _rows,
    features,
    mechanism,
    table_of,
    wording,
)
from fourfold.atlas.words import meant, preamble, read_phrases

RATINGS = Path(__file__).with_name("wording_ratings.tsv")
#: authors and systems beyond the catalogue, as they occur in the cases: the table must not know them either
NAMES = Path(__file__).with_name("wording_names.txt")
CODES = ("AR", "LV", "AD", "DI", "FL", "EN", "NO")
#: cards weigh more than other texts, and these more than labels that were not sure
CARD_WEIGHT = 16.0
OTHER_WEIGHT = 3.0
UNSURE_WEIGHT = 1.0
#: beside a phrase, the head of a card or text, of so many characters
HEAD_WEIGHT = 0.2
HEAD = 260
BALANCE = 0.4
RARE = 3
SHORT = 900
#: a name of more words is a title
TITLE = 3
#: stems that stand in some name and are everybody's all the same
EVERYDAY_TEXT = """
python self gpu prob efficient min custom reduce lambda idea com lightweight interactive arbitrary modular hat ground projection
explanation uncertainty attn reuse biological offline conv exploration physic critical v3 international yourself multi-modal matter big
sentiment lib multi-task fair recommender thin tab former quantizer disentanglement explainable genetic technolog industrial asymmetric
model-bas adjustment revision pixel-level survival modulation atmospheric propagate sinusoidal electronic medicine personaliz
personalization hyperbolic solid transducer dequantization data-dependent piecewise aligner stylization emerg inform
rl gnn vq odes nmt rlhf wmt moe mrf mmd mm se mi sup vis cp db xi conformer speculative doubly tuner anatomy sleep rocket
"""
EVERYDAY = frozenset(EVERYDAY_TEXT.split())
#: a lesson that shares so much of its runs of so many words with a test is a copy of it
RUN = 8
COPIED = 0.1


@dataclass(frozen=True)
class Fit:
    """How a table is fitted.

    Attributes:
        penalty: scikit-learn's C, the inverse of the penalty.
        stated: scale of the stated mechanism: the smaller, the more it is held back by the penalty.
        rated: scale of the ratings, zero for none.
        stretch: held-out answers are right more often than a penalised, balanced fit says: its log-odds are stretched by this.
        keep: how many words, pairs and runs of letters it holds, beside the rated words.
        even: whether the constant forgets how often each cell occurs among the lessons, which is no sign of what will be asked.
    """

    penalty: float
    stated: float
    rated: float
    stretch: float
    keep: int
    even: bool = False


FITS = {
    PROSE: Fit(0.1, 0.4, 0.3, 1.25, 2000),
    PHRASE: Fit(1.0, 0.4, 0.0, 1.0, 12000),
    CODE: Fit(1.0, 0.5, 0.0, 1.0, 12000, even=True),
}


@dataclass(frozen=True)
class Example:
    """One text: its words, its mechanism's features, its cell and its weight."""

    words: frozenset[str]
    mechanism: dict[str, float]
    cell: Cell
    weight: float


def example(text: str, cell: Cell, weight: float, table: Table, hidden: str = "") -> Example:
    """The words of ``hidden`` (or of the text) and what the text states."""
    rows = read_statements(text) if table == CODE else read_phrases(text)
    votes = tally(rows)
    counted = hidden or text
    return Example(
        frozenset(features(counted if table == CODE else meant(counted), table)),
        mechanism(rows, votes, weigh(votes), ENOUGH),
        cell,
        weight,
    )


def examples(text: str, cell: Cell, weight: float) -> list[Example]:
    """A long text counts twice, whole and its head alone: cards come in every length."""
    return [
        example(part, cell, weight, PROSE) for part in ({text, text[:SHORT]} if len(text) > 1.5 * SHORT else {text})
    ]


@dataclass(frozen=True)
class Lesson:
    """A labelled case: what is learned from it, and what it is scored by, blanked and as it stands."""

    case: dict[str, Any]
    learned: list[Example]
    blank: Example
    whole: Example


def lesson(case: dict[str, Any], table: Table) -> Lesson:
    """Phrases and code are learned and scored as they stand; so are the heads of cards, as phrases."""
    cell, text = cell_of(case), _text(case)
    text = text if table == CODE else text[preamble(text) :]
    if table == PROSE:
        hidden = blanked(text, case)
        learned = examples(hidden, cell, 1.0) + examples(text, cell, 1.0)
        return Lesson(case, learned, example(hidden, cell, 1.0, table), example(text, cell, 1.0, table))
    if case["kind"] in ("phrase", "code"):
        row = example(text, cell, 1.0, table, unnamed(text, case))
    else:
        row = example(text[:HEAD], cell, HEAD_WEIGHT, table, blanked(text, case)[:HEAD])
    return Lesson(case, [row], row, row)


def unnamed(text: str, case: Mapping[str, Any]) -> str:
    """A phrase or code without its system's names: nothing is learned of them, nor of the letters they are made of."""
    names = sorted({str(name) for name in case.get("names", ()) if len(str(name)) > 2}, key=len, reverse=True)
    return re.sub("|".join(rf"(?<!\w){re.escape(name)}\w*" for name in names), " ", text) if names else text


def table_for(kind: str) -> Table:
    return {"phrase": PHRASE, "code": CODE}.get(kind, PROSE)


def weighted(rows: list[Lesson], cards: bool, table: Table = PROSE) -> list[Example]:
    """What is learned from lessons, with its weight: in prose by what kind of text it is, elsewhere as it comes."""
    found = []
    for row in rows:
        sure = row.case.get("evidence") != "weak"
        factor = 1.0 if table != PROSE else CARD_WEIGHT if cards else OTHER_WEIGHT if sure else UNSURE_WEIGHT
        found += [replace(one, weight=factor * one.weight) for one in row.learned]
    return found


def read_cases(paths: list[Path], table: Table = PROSE, tests: list[Path] | None = None) -> list[Lesson]:
    """The cases a table learns from: its own kind, and for phrases the heads of all prose; none that copies a test."""
    own = [case for case in _cases(paths) if table_for(case["kind"]) in {table, PROSE if table == PHRASE else table}]
    if tests:
        own = apart(own, _cases(tests))
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(lesson, table=table), own, chunksize=20))


def apart(cases: list[dict[str, Any]], tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases that share neither a system's name nor ``COPIED`` of their runs of ``RUN`` words with a test.

    One system's card, package page and paper repeat each other: other sources are not enough to keep a test untouched.
    """
    names = {_name(test) for test in tests} - {""}
    of: dict[str, set[int]] = {}
    sizes = []
    for i, test in enumerate(tests):
        runs = _runs_of(_text(test))
        sizes.append(len(runs))
        for run in runs:
            of.setdefault(run, set()).add(i)

    def copies(case: dict[str, Any]) -> bool:
        runs = _runs_of(_text(case))
        shared = Counter(i for run in runs for i in of.get(run, ()))
        return any(count > COPIED * min(len(runs), sizes[i]) for i, count in shared.items())

    return [case for case in cases if _name(case) not in names and not copies(case)]


def _name(case: Mapping[str, Any]) -> str:
    return re.sub(r"[^a-z0-9]", "", str(case.get("name", "")).lower())


def _text(case: Mapping[str, Any]) -> str:
    return str(case.get("text") or "\n\n".join(case["files"].values()))


def _runs_of(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def _cases(paths: list[Path]) -> list[dict[str, Any]]:
    return [_labelled(case, path) for path in paths for case in read_labelled(path)]


def _labelled(case: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        cell_of(case), case.get("text") or case["files"]
    except (ValueError, KeyError) as error:
        raise SystemExit(
            f"{path}: case {case.get('id', '')!r} cannot be learned ({error!r}); give a paradigm of the map and text"
        ) from error
    return case


def cell_of(case: Mapping[str, Any]) -> Cell:
    return Cell(case["label"]["paradigm"].replace("_", "-"))


def read_ratings(path: Path = RATINGS) -> dict[str, np.ndarray]:
    """Words and what each tells of the seven cells, from -3 to 3."""
    found: dict[str, np.ndarray] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        word, codes = line.split("\t")
        rated = np.zeros(len(CELLS))
        for code, value in re.findall(r"([A-Z]{2})(-?\d)", codes):
            rated[CODES.index(code)] = int(value)
        found[word] = rated
    return found


def hidden_tokens() -> frozenset[str]:
    """Words that no row may hold: people, catalogued names and organisations, unless they are plain words of the catalogue too.

    A name of many words is a title: its words are everybody's.
    """
    prose = Counter(word for system in systems() for word in wording(f"{system.objective} {system.sampling}"))
    names = [name for system in systems() for name in (system.name, *system.aliases) if len(name.split()) <= TITLE]
    names += [system.organisation for system in systems()]
    acronyms = {word for name in names if name.isalnum() and sum(map(str.isupper, name)) > 1 for word in wording(name)}
    tokens = {
        token for name in names for word in wording(f"{name} {re.sub(r'[0-9.]+', ' ', name)}") for token in word.split()
    }
    plain = ({word for word, count in prose.items() if count > 1} - acronyms) | EVERYDAY
    listed = frozenset(NAMES.read_text(encoding="utf-8").split())
    return frozenset(token.removeprefix("t:") for token in tokens | acronyms) - plain | listed


_NAMING = re.compile(rf"{PARADIGM_WORDS}|diffus|adversari|autoregress|variation|auto-?encod", re.I)


def hides(word: str, tokens: frozenset[str], table: Table = PROSE) -> bool:
    """Whether a feature holds a name, or in prose names a paradigm: foils and negations must not count, and phrases see to that."""
    bare = word.removeprefix("t:").removeprefix("l:").strip("<>")
    named = table != CODE and _NAMING.search(bare)
    return bool(named) or any(token in tokens for token in bare.split())


class Model:
    """The fitted table: a row of weights per feature."""

    def __init__(
        self, rows: list[Example], ratings: Mapping[str, np.ndarray], keep: int = 0, table: Table = PROSE
    ) -> None:
        tokens = hidden_tokens()
        self.table, self.how = table, FITS[table]
        self.ratings = {word: rated for word, rated in ratings.items() if self.how.rated and not hides(word, tokens)}
        seen = Counter(word for row in rows for word in row.words)
        frequent = {word for word, count in seen.items() if count >= RARE and not hides(word, tokens, table)}
        known = sorted(frequent | self.ratings.keys())
        self._fit(rows, known)
        strength = np.abs(self.coefficients[:, : len(known)]).max(0) * np.sqrt([min(seen[word], 200) for word in known])
        order = [known[i] for i in np.argsort(-strength)]
        kept = [word for word in order if word not in self.ratings][: keep or self.how.keep]
        self._fit(rows, sorted({*kept, *self.ratings}))

    def _fit(self, rows: list[Example], words: list[str]) -> None:
        how = self.how
        self.words = {word: i for i, word in enumerate(words)}
        self.found = {name: i for i, name in enumerate(sorted({name for row in rows for name in row.mechanism}))}
        nothing = np.zeros(len(CELLS))
        target = np.array([CELLS.index(row.cell) for row in rows])
        count = np.bincount(target, minlength=len(CELLS))
        if not count.all():
            raise SystemExit(
                f"no {CELLS[int(count.argmin())]} text to learn from; give cases of every paradigm, or fewer folds"
            )
        weight = np.array([row.weight for row in rows]) * (len(rows) / len(CELLS) / count[target]) ** BALANCE
        x = self._matrix(rows, how.stated)
        if how.rated:
            rated = [how.rated * self.ratings.get(word, nothing) for word in words] + [nothing] * len(self.found)
            rated_by = sp.csr_matrix(np.array(rated))
            x = sp.hstack([x, x @ rated_by]).tocsr()
        fitted = LogisticRegression(C=how.penalty, max_iter=500).fit(x, target, sample_weight=weight)
        self.coefficients, self.bias = fitted.coef_[:, : len(words) + len(self.found)].copy(), fitted.intercept_
        if how.rated:
            self.coefficients += fitted.coef_[:, -len(CELLS) :] @ rated_by.T.toarray()
        self.coefficients[:, len(words) :] *= how.stated
        if how.even:
            share = np.bincount(target, weight)
            self.bias = self.bias - np.log(share / share.mean())
        self.coefficients, self.bias = how.stretch * self.coefficients, how.stretch * self.bias

    def _matrix(self, rows: list[Example], stated: float) -> sp.csr_matrix:
        at, to, value = [], [], []
        for i, row in enumerate(rows):
            known = [word for word in row.words if word in self.words]
            for group in (
                [word for word in known if not word.startswith("l:")],
                [word for word in known if word.startswith("l:")],
            ):
                at += [i] * len(group)
                to += [self.words[word] for word in group]
                value += [self.table.scale / np.sqrt(max(len(group), self.table.floor))] * len(group)
            for name, x in row.mechanism.items():
                if name in self.found:
                    at.append(i), to.append(len(self.words) + self.found[name]), value.append(stated * x)
        return sp.csr_matrix((value, (at, to)), shape=(len(rows), len(self.words) + len(self.found)))

    def probabilities(self, rows: list[Example]) -> np.ndarray:
        logits = self._matrix(rows, 1.0) @ self.coefficients.T + self.bias
        parts = np.exp(logits - logits.max(1, keepdims=True))
        return parts / parts.sum(1, keepdims=True)

    def _row(self, name: str, weights: np.ndarray) -> str:
        return "\t".join([name, *(str(round(weight / self.table.unit)) for weight in weights - weights.mean())])

    def write(self, path: Path, labelled: int) -> None:
        names = [*self.words, *self.found]
        lines = [
            f"# learned by benchmarks/wording.py from {labelled} texts labelled by hand"
            + (f" and {len(self.ratings)} words rated by hand" if self.ratings else ""),
            f"# feature, then its weight in units of {self.table.unit} for: " + ", ".join(CELLS),
            self._row(BIAS, self.bias),
        ]
        rows = [self._row(name, self.coefficients[:, i]) for i, name in enumerate(names)]
        path.write_text(
            "\n".join(lines + [row for row in rows if not row.endswith("\t0" * len(CELLS))]) + "\n", "utf-8"
        )


class Onwards(Model):
    """The table that is there, learned further: its weights are the mean of a Gaussian prior, whose precision is ``pull``."""

    def __init__(self, rows: list[Example], table: Table, pull: float) -> None:
        tokens, start = hidden_tokens(), _rows(table)
        self.table, self.how, self.ratings = table, FITS[table], {}
        seen = Counter(word for row in rows for word in row.words)
        stated = [name for name in start if name.split(":")[0] in _STATED]
        fresh = {word for word, count in seen.items() if count >= RARE and not hides(word, tokens, table)}
        words = sorted((start.keys() | fresh) - {BIAS, *stated})
        self.words = {word: i for i, word in enumerate(words)}
        self.found = {name: i for i, name in enumerate(stated)}
        nothing = (0.0,) * len(CELLS)
        self._descend(rows, np.array([start.get(name, nothing) for name in (*words, *stated, BIAS)]).T, pull)

    def _descend(self, rows: list[Example], before: np.ndarray, pull: float) -> None:
        x = sp.hstack([self._matrix(rows, 1.0), np.ones((len(rows), 1))]).tocsr()
        target = np.eye(len(CELLS))[[CELLS.index(row.cell) for row in rows]]
        weight = np.array([row.weight for row in rows])[:, None]

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            moved = flat.reshape(before.shape)
            logits = x @ (before + moved).T
            logits -= logits.max(1, keepdims=True)
            log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            gradient = (x.T @ (weight * (np.exp(log_p) - target))).T + pull * moved
            return float(pull / 2 * (moved**2).sum() - (weight * target * log_p).sum()), gradient.ravel()

        moved = minimize(loss, np.zeros(before.size), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
        after = before + moved.reshape(before.shape)
        self.coefficients, self.bias = after[:, :-1], after[:, -1]


#: how the names of stated features begin
_STATED = frozenset({"claim", "cell", "rule", "top"})


def labelled(path: Path) -> int:
    """How many texts a table says it was learned from."""
    found = re.match(r"# learned by \S+ from (\d+) texts", path.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{path}: its first line does not say what it was learned from; learn it without --onwards")
    return int(found.group(1))


def right(case: Mapping[str, Any], cell: Cell) -> bool:
    label = case["label"]
    accepted = [label["paradigm"], *(label.get("accept") or {}).get("paradigm", [])]
    return cell.value.replace("-", "_") in accepted


def fitted(cards: list[Lesson], others: list[Lesson], table: Table, pull: float = 0.0, keep: int = 0) -> Model:
    """A table learned from lessons: from nothing, or onwards from the one that is there."""
    if pull:
        return Onwards([one for row in cards + others for one in row.learned], table, pull)
    return Model(weighted(others, False, table) + weighted(cards, True, table), read_ratings(), keep, table)


def held_out(
    cards: list[Lesson], others: list[Lesson], folds: int, keep: int = 0, table: Table = PROSE, pull: float = 0.0
) -> np.ndarray:
    """Probabilities of every case by a model that learned from none of its source: (blanked, as it stands) x cases x cells."""
    fold = np.array([crc32(f"{_origin(row.case)}f".encode()) % folds for row in cards])
    found = np.zeros((2, len(cards), len(CELLS)))
    for k in range(folds):
        rest = [row for row, other in zip(cards, fold, strict=True) if other != k]
        model = fitted(rest, others, table, pull, keep)
        here = np.flatnonzero(fold == k)
        found[0, here] = model.probabilities([cards[i].blank for i in here])
        found[1, here] = model.probabilities([cards[i].whole for i in here])
    return found


def _origin(case: Mapping[str, Any]) -> str:
    """What two cases must not share across folds: a phrase's system, else the repository or page; a package's version apart."""
    if case["kind"] == "phrase":
        return str(case.get("name", case["id"])).lower()
    return re.split(r"@|==", str(case.get("source", case["id"])))[0]


def report(cards: list[Lesson], found: np.ndarray) -> None:
    for kind, answers in zip(("blanked", "as it stands"), found, strict=True):
        ok = np.array([right(row.case, CELLS[p.argmax()]) for row, p in zip(cards, answers, strict=True)])
        sure = answers.max(1)
        at = "  ".join(
            f"p > {t}: {(sure > t).mean():.2f} answered, {ok[sure > t].mean():.2f} right" for t in (0.3, 0.5, 0.7)
        )
        print(f"{kind:<13} {len(cards)} cases, right {ok.mean():.3f}   {at}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cases", type=Path, nargs="+", required=True, help="labelled cases of the table's kind")
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], help="labelled texts beside them, which are never held out"
    )
    parser.add_argument(
        "--apart", type=Path, nargs="*", default=[], help="tests: no lesson may copy one or be of its system"
    )
    parser.add_argument("--table", choices=[table.name for table in FITS], default=PROSE.name)
    parser.add_argument(
        "--onwards", type=float, default=0.0, metavar="PULL", help="learn the table that is there further"
    )
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("src/fourfold/atlas"), help="the folder of the tables")
    args = parser.parse_args()
    table = table_of(args.table)
    cases, others = (read_cases(paths, table, args.apart) for paths in (args.cases, args.others))
    print(
        f"{len(cases)} cases and {len(others)} others: {dict(Counter(row.blank.cell.value for row in cases + others))}"
    )
    if args.folds:
        report(cases, held_out(cases, others, args.folds, table=table, pull=args.onwards))
        return
    path = args.out / f"{table.name}.tsv"
    before = labelled(path) if args.onwards else 0
    fitted(cases, others, table, args.onwards).write(path, before + len(cases) + len(others))


if __name__ == "__main__":
    main()
