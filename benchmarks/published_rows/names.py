"""X1. names.txt by the splits of makemore and of its lectures: exact nats a character, the end counted."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import fourfold
from fourfold.data import Dataset, load
from published_rows import Anchor, Line, Options, Row, chosen, interval, located

ORIGIN = "karpathy/makemore, names.txt"
LENGTHS = {"train": 182_625, "validation": 22_655, "test": 22_866}
"""Characters of the parts of the lectures, each with the end of its name: karpathy/nn-zero-to-hero at 73c3fcc."""
LECTURES, README, END = "lectures: validation", "makemore: test", "\n"


@dataclass(frozen=True)
class Setting:
    """Recipe, size and steps of a model of the names as one text."""

    recipe: str
    size: str
    steps: int

    def __str__(self) -> str:
        return f"{self.recipe} {self.size}, {self.steps} steps"


CANDIDATES = tuple(
    Setting("autoregressive/ngrams", size, steps) for size, steps in (("xs", 400), ("s", 800), ("s", 2400), ("s", 4000))
)
LENGTH = 32
"""Characters of a training window."""


def parts(name: str, options: Options) -> dict[str, list[str]]:
    """The names of each part. Makemore has no validation part: 1,000 of its training names serve."""
    words = located(options, "text/names.txt", ORIGIN).read_text(encoding="utf-8").split()
    if name == README:
        order = torch.randperm(len(words), generator=torch.Generator().manual_seed(3407)).tolist()
        words = [words[i] for i in order]
        return {"train": words[:-2000], "validation": words[-2000:-1000], "test": words[-1000:]}
    random.Random(42).shuffle(words)
    first, second = int(0.8 * len(words)), int(0.9 * len(words))
    return {"train": words[:first], "validation": words[first:second], "test": words[second:]}


def characters(words: Sequence[str]) -> int:
    """Characters of names, each with its end."""
    return sum(len(word) + 1 for word in words)


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """The characters of the lectures' parts."""
    if name == LECTURES:
        for part, words in parts(name, options).items():
            yield Anchor(f"characters of {part}", LENGTHS[part], characters(words), 0)


def dataset(words: Sequence[str]) -> Dataset:
    """Names as one text, of which the last tenth chooses the weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "names.txt"
        path.write_text(written(words), encoding="utf-8")
        return load(path, tokens="chars", length=LENGTH, fractions=(0.9, 0.1))


def written(words: Sequence[str]) -> str:
    """Names, each with its end, after an end."""
    return END + "".join(word + END for word in words)


@torch.no_grad()
def nats(run: fourfold.Run, words: Sequence[str]) -> Tensor:
    """Nats of each name, given the end before it alone, over the mean number of characters of a name."""
    scores = torch.empty(len(words))
    for length in sorted({len(word) for word in words}):
        places = [i for i, word in enumerate(words) if len(word) == length]
        for some in torch.tensor(places).split(500):
            ids = torch.stack([run.model.space.parse(written([words[i]])) for i in some.tolist()])
            scores[some] = -run.model.estimand(ids)[:, 1:].sum(1).float()
    return scores * len(words) / characters(words)


def measure(name: str, options: Options) -> Iterator[Line]:
    """One model; both held-out parts of the lectures' split."""
    words = parts(name, options)
    data, inner = dataset(words["train"]), words["train"][-len(words["train"]) // 10 :]

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        budget = options.steps(setting.steps)
        return fourfold.fit(setting.recipe, data, budget=budget, size=setting.size, seed=seed, progress=False)

    winner = chosen(CANDIDATES, fit, lambda run: nats(run, inner).mean().item(), options)
    shown = ("validation", "test") if name == LECTURES else ("test",)
    values = [interval([nats(run, words[part]) for run in winner.runs]) for part in shown]
    figures = dict(zip(("nats/character", "on the test part"), values, strict=False))
    yield Line(name, f"fourfold {winner.setting}", figures, "exact", winner.cost, seeds=len(winner.runs))


LECTURE = "karpathy/nn-zero-to-hero, makemore"
ROW = Row(
    title="Names, character by character (X1)",
    figure="nats/character",
    lower=True,
    protocol="Mean nats a character, the end of each name counted. Makemore's split holds out 1,000 names and reports "
    "them as test, the lectures' splits 80/10/10 and report the validation part.",
    source="karpathy/makemore at 988aa59, README; karpathy/nn-zero-to-hero at 73c3fcc, lectures/makemore",
    data=ORIGIN,
    chosen="size and steps, and the weights of a run, by a tenth of the training names",
    interval="95 % over names",
    sets=(LECTURES, README),
    published=(
        Line(LECTURES, "MLP of three characters", {"nats/character": 2.105}, "exact", source=f"{LECTURE} part 3"),
        Line(LECTURES, "MLP of 22,000 parameters", {"nats/character": 2.027}, "exact", source=f"{LECTURE} part 5"),
        Line(
            LECTURES, "WaveNet, 76,000 parameters", {"nats/character": 1.9936515}, "exact", source=f"{LECTURE} part 5"
        ),
        Line(README, "transformer, 200,000 parameters", {"nats/character": 1.92}, "exact", source="makemore README"),
    ),
    anchors=anchors,
    measure=measure,
)
