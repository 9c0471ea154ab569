"""X1. names.txt by the splits of makemore and of its lectures: exact nats a character, the end counted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import fourfold
from fourfold.data import Dataset, Split
from fourfold.spaces import Lines
from published_rows import Anchor, Line, Options, Row, chosen, interval, located

ORIGIN = "karpathy/makemore, names.txt"
LENGTHS = {"train": 182_625, "validation": 22_655, "test": 22_866}
"""Characters of the parts of the lectures, each with the end of its name: karpathy/nn-zero-to-hero at 73c3fcc."""
LECTURES, README = "lectures: validation", "makemore: test"


@dataclass(frozen=True)
class Setting:
    """Size and steps of the autoregressive model of whole texts."""

    size: str
    steps: int

    def __str__(self) -> str:
        return f"autoregressive {self.size}, {self.steps} steps"


CANDIDATES = (Setting("xs", 3000),)


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


def measure(name: str, options: Options) -> Iterator[Line]:
    """One model; both held-out parts of the lectures' split."""
    words = parts(name, options)
    space = Lines.of_texts([*words["train"], *words["validation"], *words["test"]])
    encoded = {part: space.parse(some) for part, some in words.items()}
    # the weights of the lowest loss are chosen by a tenth of the training names: the validation part is a figure here
    tenth = len(encoded["train"]) // 10
    inner = (Split(encoded["train"][tenth:]), Split(encoded["train"][:tenth]))
    data = Dataset(name, space, *inner, Split(encoded["test"]), digest="", source="files")

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        budget = options.steps(setting.steps)
        return fourfold.fit("autoregressive", data, budget=budget, size=setting.size, seed=seed, progress=False)

    def nats(run: fourfold.Run, part: str) -> Tensor:
        return -run.log_prob(encoded[part]).nats * len(words[part]) / characters(words[part])

    def validation(run: fourfold.Run) -> float:
        held_out = data.validation.x
        return -run.log_prob(held_out).nats.sum().item() / characters(words["train"][:tenth])

    winner = chosen(CANDIDATES, fit, validation, options)
    figures = {
        "nats/character": interval([nats(run, "validation" if name == LECTURES else "test") for run in winner.runs])
    }
    if name == LECTURES:
        figures["on the test part"] = interval([nats(run, "test") for run in winner.runs])
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
    chosen="none: the preset of size xs; weights by a tenth of the training names",
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
