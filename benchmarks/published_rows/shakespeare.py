"""X2. Tiny Shakespeare by nanoGPT's own estimate: random windows of 64 characters, all positions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import fourfold
from fourfold.data import Dataset, load
from published_rows import Anchor, Line, Options, Row, chosen, interval, located

ORIGIN = "karpathy/char-rnn, data/tinyshakespeare/input.txt, as tinyshakespeare.txt"
CHARACTERS = {"train": 1_003_854, "validation": 111_540}
BLOCK, WINDOWS = 64, 2000


@dataclass(frozen=True)
class Setting:
    """A recipe, its size and steps, and the characters of a training window."""

    recipe: str
    size: str
    steps: int
    length: int

    def __str__(self) -> str:
        return f"{self.recipe} {self.size}, {self.steps} steps of windows of {self.length}"


CANDIDATES = (Setting("autoregressive/likelihood", "xs", 400, 64), Setting("autoregressive/ngrams", "xs", 400, 64))


def halves(options: Options) -> dict[str, str]:
    """The first nine tenths, and the last, as nanoGPT has them."""
    text = located(options, "text/tinyshakespeare.txt", ORIGIN).read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    return {"train": text[:cut], "validation": text[cut:]}


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """The characters of both parts, of 65 kinds."""
    text = halves(options)
    for part, count in CHARACTERS.items():
        yield Anchor(f"characters of {part}", count, len(text[part]), 0)
    yield Anchor("kinds of characters", 65, len(set("".join(text.values()))), 0)


def windows(ids: Tensor) -> Tensor:
    """Random windows of a block and the character before it, as nanoGPT's ``get_batch`` draws them."""
    starts = torch.randint(len(ids) - BLOCK, (WINDOWS,), generator=torch.Generator().manual_seed(1337))
    return torch.stack([ids[start : start + BLOCK + 1] for start in starts])


@torch.no_grad()
def nats(run: fourfold.Run, text: str) -> Tensor:
    """The mean over the positions of each window: given one character, given two, and so on to the block."""
    rows = windows(run.model.space.parse(text))
    return torch.cat([-run.model.estimand(part)[:, 1:].mean(1) for part in rows.split(200)])


def measure(name: str, options: Options) -> Iterator[Line]:
    """The setting that the end of the training part chooses, on the validation part, which is their figure."""
    text = halves(options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_text(text["train"], encoding="utf-8")

        def data(length: int) -> Dataset:
            return load(path, tokens="chars", length=length, fractions=(0.95, 0.05))

        sets = {setting.length: data(setting.length) for setting in CANDIDATES}

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        budget = options.steps(setting.steps)
        known = sets[setting.length]
        return fourfold.fit(setting.recipe, known, budget=budget, size=setting.size, seed=seed, progress=False)

    held_out = text["train"][-len(text["train"]) // 20 :]
    winner = chosen(CANDIDATES, fit, lambda run: nats(run, held_out).mean().item(), options)
    figures = {"nats/character": interval([nats(run, text["validation"]) for run in winner.runs])}
    yield Line(name, f"fourfold {winner.setting}", figures, "exact", winner.cost, seeds=len(winner.runs))


ROW = Row(
    title="Tiny Shakespeare by nanoGPT's estimate (X2)",
    figure="nats/character",
    lower=True,
    protocol="Mean nats a character over random windows of 64 characters of the last tenth, every position counted, so "
    "that contexts are of 1 to 64 characters.",
    source="karpathy/nanoGPT at 3adf61e, README",
    data=ORIGIN,
    chosen="recipe by the last twentieth of the training part, which chooses the weights, too",
    interval="95 % over 2,000 windows",
    sets=("tiny Shakespeare",),
    published=(
        Line(
            "tiny Shakespeare",
            "nanoGPT, recipe for a CPU",
            {"nats/character": 1.88},
            "exact",
            "about 180, a MacBook",
            source="nanoGPT README",
        ),
    ),
    anchors=anchors,
    measure=measure,
    notes=("nanoGPT estimates by 20 batches of 12 windows. The smallest validation loss of a training is its figure.",),
)
