"""Learn the atlas's table of wording: which words keep company with which paradigm.

    python benchmarks/wording.py texts.jsonl --cases cases.jsonl ... [--out src/fourfold/atlas/wording.tsv]
    python benchmarks/wording.py texts.jsonl --cases cases.jsonl ... --folds 5

All of it is read as data and none of it is kept: the table holds stems and numbers.

A text is a JSON object on a line: ``name``, ``text`` and, where known, ``hint``, the cell that its one-line summary names. Its
label is the cell that the atlas's phrases tell from the text as it stands; then names and paradigm words are blanked and the
model learns the label from what is left. Labelled cases (the format of ``benchmarks/atlas.py``) are learned blanked and, at half
the weight, as they stand, so that the votes of phrases are weighed too; whatever names a paradigm, a system or an organisation never
becomes a row. With ``--folds`` the cases are held out in turn, those of one source together, and scored, blanked and as they
stand. The model is multinomial logistic regression with an L2 penalty (scikit-learn).
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from atlas import PARADIGM_WORDS, blanked
from fourfold.atlas.code import read_statements
from fourfold.atlas.evidence import Cell
from fourfold.atlas.placement import ENOUGH, decide, tally, weigh
from fourfold.atlas.systems import systems
from fourfold.atlas.wording import CELLS, FLOOR, mechanism, wording
from fourfold.atlas.words import read_phrases

SURE = 0.75
#: labels given by hand weigh more than those the phrases tell; of these, cards more than other texts of their kind
CARD_WEIGHT = 16.0
OTHER_WEIGHT = 6.0
TEXT_WEIGHT = 0.5
CATALOGUE_WEIGHT = 0.35
PENALTY = 5.0
RARE = 4
SHORT = 900


@dataclass(frozen=True)
class Example:
    """One blanked text: its words, its mechanism's features, its cell and its weight."""

    words: frozenset[str]
    mechanism: dict[str, float]
    cell: Cell
    weight: float


def example(text: str, cell: Cell, weight: float, code: bool = False) -> Example:
    votes = tally(read_statements(text) if code else read_phrases(text))
    return Example(frozenset(wording(text)), mechanism(votes, weigh(votes), ENOUGH), cell, weight)


def examples(text: str, cell: Cell, weight: float) -> list[Example]:
    """A long text counts twice, whole and its head alone: cards come in every length."""
    return [example(part, cell, weight) for part in ({text, text[:SHORT]} if len(text) > 1.5 * SHORT else {text})]


def unlabelled(path: Path) -> list[Example]:
    """Texts whose cell the phrases tell, unless the summary's hint says otherwise."""
    found: list[Example] = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        placed = decide("", read_phrases(row["text"]))
        hint = row.get("hint", "")
        nothing = Cell.NOT_GENERATIVE.value
        if placed.cell is None or (placed.cell != hint and placed.confidence < SURE):
            continue
        if hint and (placed.cell == nothing) != (hint == nothing):
            continue
        hidden = blanked(row["text"], {"name": row["name"], "names": [row["name"]]})
        found += examples(hidden, placed.cell, TEXT_WEIGHT * (1.0 if placed.cell == hint else 0.6))
    return found


def catalogue() -> list[Example]:
    found = []
    for system in systems():
        text = f"{system.name}. {system.objective}. {system.sampling}. {system.modality} {system.conditioning}"
        found.append(example(blanked(text, {"name": system.name}), system.paradigm, CATALOGUE_WEIGHT))
    return found


def hidden_tokens() -> frozenset[str]:
    """Words that no row may hold: those of catalogued names and organisations, unless they are plain words of the catalogue too."""
    prose = Counter(word for system in systems() for word in wording(f"{system.objective} {system.sampling}"))
    names = [name for system in systems() for name in (system.name, *system.aliases, system.organisation)]
    acronyms = {word for name in names if name.isalnum() and sum(map(str.isupper, name)) > 1 for word in wording(name)}
    tokens = {
        token for name in names for word in wording(f"{name} {re.sub(r'[0-9.]+', ' ', name)}") for token in word.split()
    }
    plain = {word for word, count in prose.items() if count > 1} - acronyms
    return frozenset(token.removeprefix("t:") for token in tokens | acronyms) - plain


def hides(word: str, tokens: frozenset[str]) -> bool:
    """Whether a feature holds a name, or names a paradigm: foils and negations must not count, and phrases see to that."""
    bare = word.removeprefix("t:")
    named = re.search(rf"{PARADIGM_WORDS}|diffus|adversari|autoregress|variation|auto-?encod", bare, re.I)
    return bool(named) or any(token in tokens for token in bare.split())


class Model:
    """The fitted table: a row of weights per feature."""

    def __init__(self, rows: list[Example], keep: int) -> None:
        tokens = hidden_tokens()
        seen = Counter(word for row in rows for word in row.words)
        known = sorted(
            word for word, count in seen.items()
            if count >= RARE and not hides(word, tokens)
        )  # fmt: skip
        self._fit(rows, known)
        strength = np.abs(self.coefficients[:, : len(known)]).max(0) * np.sqrt([min(seen[word], 200) for word in known])
        chosen = sorted(np.argsort(-strength)[:keep])
        self._fit(rows, [known[i] for i in chosen])

    def _fit(self, rows: list[Example], words: list[str]) -> None:
        self.words = {word: i for i, word in enumerate(words)}
        self.found = {name: i for i, name in enumerate(sorted({name for row in rows for name in row.mechanism}))}
        target = np.array([CELLS.index(row.cell) for row in rows])
        count = np.bincount(target, minlength=len(CELLS))
        weight = np.array([row.weight for row in rows]) * (len(rows) / len(CELLS) / count[target]) ** 0.7
        fitted = LogisticRegression(C=PENALTY, max_iter=500).fit(self._matrix(rows), target, sample_weight=weight)
        self.coefficients, self.bias = fitted.coef_, fitted.intercept_

    def _matrix(self, rows: list[Example]) -> sp.csr_matrix:
        at, to, value = [], [], []
        for i, row in enumerate(rows):
            known = [self.words[word] for word in row.words if word in self.words]
            scale = 1 / np.sqrt(max(len(known), FLOOR))
            for j in known:
                at.append(i), to.append(j), value.append(scale)
            for name, x in row.mechanism.items():
                if name in self.found:
                    at.append(i), to.append(len(self.words) + self.found[name]), value.append(x)
        return sp.csr_matrix((value, (at, to)), shape=(len(rows), len(self.words) + len(self.found)))

    def probabilities(self, rows: list[Example]) -> np.ndarray:
        logits = self._matrix(rows) @ self.coefficients.T + self.bias
        parts = np.exp(logits - logits.max(1, keepdims=True))
        return parts / parts.sum(1, keepdims=True)

    def write(self, path: Path, rows: int, labelled: int) -> None:
        names = [*self.words, *self.found]
        lines = [
            f"# learned by benchmarks/wording.py from {rows} examples, of which {labelled} texts were labelled by hand",
            "# feature, then 100 x weight for: " + ", ".join(CELLS),
            _row("bias", self.bias),
        ]
        lines += [_row(name, self.coefficients[:, i]) for i, name in enumerate(names)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(name: str, weights: np.ndarray) -> str:
    return "\t".join([name, *(str(round(100 * weight)) for weight in weights - weights.mean())])


def right(case: dict[str, Any], cell: Cell) -> bool:
    label = case["label"]
    accepted = [label["paradigm"], *(label.get("accept") or {}).get("paradigm", [])]
    return cell.value.replace("-", "_") in accepted


def lessons(case: dict[str, Any], weight: float) -> list[Example]:
    """A labelled case blanked, and as it stands at half the weight; code as it stands."""
    cell = cell_of(case)
    if case["kind"] == "code":
        return [example(case["text"], cell, weight, code=True)]
    return examples(blanked(case["text"], case), cell, weight) + examples(case["text"], cell, 0.5 * weight)


def read_cases(paths: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def cell_of(case: dict[str, Any]) -> Cell:
    return Cell(case["label"]["paradigm"].replace("_", "-"))


def cross_validate(rows: list[Example], cases: list[dict[str, Any]], folds: int, keep: int) -> None:
    learned = [lessons(case, CARD_WEIGHT) for case in cases]
    whole = [example(case["text"], cell_of(case), 1.0) for case in cases]
    whole_hidden = [example(blanked(case["text"], case), cell_of(case), 1.0) for case in cases]
    fold = np.array([crc32(f"{case['source'].split('@')[0]}f".encode()) % folds for case in cases])
    answers = np.zeros((2, len(cases), len(CELLS)))
    for k in range(folds):
        model = Model(rows + [row for i, group in enumerate(learned) if fold[i] != k for row in group], keep)
        for j, group in enumerate((whole_hidden, whole)):
            answers[j, fold == k] = model.probabilities([group[i] for i in np.flatnonzero(fold == k)])
    for j, kind in enumerate(("blanked", "as it stands")):
        ok = np.array([right(case, CELLS[p.argmax()]) for case, p in zip(cases, answers[j], strict=True)])
        sure = answers[j].max(1)
        at = "  ".join(
            f"p > {t}: {(sure > t).mean():.2f} answered, {ok[sure > t].mean():.2f} right" for t in (0.4, 0.6)
        )
        print(f"{kind:<13} {len(cases)} cases, right {ok.mean():.3f}   {at}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--cases", type=Path, nargs="*", default=[])
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], help="labelled texts that are no cards, and code; never held out"
    )
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--keep", type=int, default=5000, help="how many words and pairs the table holds")
    parser.add_argument("--cache", type=Path, help="a pickle of the examples, written once and read again")
    parser.add_argument("--out", type=Path, default=Path("src/fourfold/atlas/wording.tsv"))
    args = parser.parse_args()
    if args.cache and args.cache.exists():
        rows = pickle.loads(args.cache.read_bytes())
    else:
        rows = unlabelled(args.texts) + catalogue()
        if args.cache:
            args.cache.write_bytes(pickle.dumps(rows))
    cases, others = read_cases(args.cases), read_cases(args.others)
    rows += [row for case in others for row in lessons(case, OTHER_WEIGHT)]
    print(f"{len(rows)} examples: {dict(Counter(row.cell.value for row in rows))}")
    if args.folds:
        cross_validate(rows, cases, args.folds, args.keep)
        return
    learned = [row for case in cases for row in lessons(case, CARD_WEIGHT)]
    Model(rows + learned, args.keep).write(args.out, len(rows + learned), len(cases) + len(others))


if __name__ == "__main__":
    main()
