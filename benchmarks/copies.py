"""How often a generator that copies training examples is called so, and how often one that does not.

Usage: python benchmarks/copies.py [--only vectors,table,...] [--repeats 200] [--out results/copies.json]

Nothing is trained. For each kind of data a law in closed form draws training, test and validation examples anew in each
repeat. Samples are *new* draws of the law, the most *typical* quarter of such draws, *copies* of training examples,
*near* copies (noise of a thousandth, one pixel in a hundred moved by one value, one letter in forty), or new draws of
which *a fifth* are copies. The scores that the report shows for the kind of data are asked, as its verdict does, by
:func:`fourfold.metrics.records.repeats`. The table has the percentages of repeats in which samples are called copies:
of *new* and *typical* ones these are false alarms.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from provenance import commit
from torch import Tensor

from fourfold.metrics import Measurement, copied_ngrams, memorisation_ratio
from fourfold.metrics.features import Features, Pixels
from fourfold.metrics.records import Records, repeats
from fourfold.metrics.rows import Columns

N, TRAIN = 180, 720
"""Samples, test examples and validation examples, and training examples."""

Law: TypeAlias = Callable[[int, torch.Generator], Tensor]
Blur: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
Score: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Measurement]
"""The score of samples beside training, test and validation examples."""


class Kind(NamedTuple):
    """A kind of data: its law, the noise of a near copy, and the score that sees copies."""

    law: Law
    blur: Blur
    score: Score


def by_distance(features: Features | None = None, name: str = "features") -> Score:
    """The distance to training examples relative to that to test examples."""

    def score(x: Tensor, train: Tensor, test: Tensor, fresh: Tensor) -> Measurement:
        a, b, c, d = (part if features is None else features(part) for part in (x, train, test, fresh))
        return memorisation_ratio(a, b, c, features=name, fresh=d)

    return score


def by_rows(columns: Columns) -> Score:
    """The share of samples that lie closer to a training row."""

    def score(x: Tensor, train: Tensor, test: Tensor, fresh: Tensor) -> Measurement:
        return Records(*(part.flatten(1) for part in (x, train, test, fresh)), columns).closer()

    return score


def by_letters(x: Tensor, train: Tensor, test: Tensor, fresh: Tensor) -> Measurement:
    """The share of passages of 32 letters that stand in the training text."""
    return copied_ngrams(x, train.flatten(), test)


def vectors(n: int, generator: torch.Generator) -> Tensor:
    """Four dense clusters in four dimensions."""
    centres = 4 * torch.eye(4)[torch.randint(4, (n,), generator=generator)]
    return centres + torch.randn(n, 4, generator=generator)


def images(n: int, generator: torch.Generator, frames: int = 1) -> Tensor:
    """Smooth fields of 8 x 8 pixels of 17 values, which drift from frame to frame."""
    phase, speed = 6.3 * torch.rand(2, n, 1, 1, 1, generator=generator)
    slope = torch.randn(2, n, 1, 1, 1, generator=generator)
    row, column, t = torch.meshgrid(*(torch.linspace(0, 2, 8),) * 2, torch.arange(frames) / 4.0, indexing="ij")
    field = (slope[0] * row + slope[1] * column + phase + speed * t).sin().permute(0, 3, 1, 2)
    noise = 0.1 * torch.randn(n, frames, 8, 8, generator=generator)
    return (8 * (field + noise) + 8).round().clamp(0, 16).to(torch.uint8)


def sounds(n: int, generator: torch.Generator) -> Tensor:
    """Two tones in noise, an eighth of a second."""
    pitch = 200 * 2 ** (3 * torch.rand(2, n, 1, generator=generator))
    phase = 6.3 * torch.rand(2, n, 1, generator=generator)
    tones = (6.2832 * pitch * torch.arange(1024) / 8000 + phase).sin().sum(0)
    return (6000 * tones + 300 * torch.randn(n, 1024, generator=generator)).to(torch.int16)


def rows(n: int, generator: torch.Generator) -> Tensor:
    """Three quantities of which two belong together, and a category."""
    z = torch.randn(n, 3, generator=generator).double()
    z[:, 1] += z[:, 0]
    return torch.cat([z, torch.randint(3, (n, 1), generator=generator)], 1)


def coarse_rows(n: int, generator: torch.Generator) -> Tensor:
    """Five categories, of which the last two follow the first, and a count: one row in two stands in 720 others."""
    x = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 5 * n, replacement=True, generator=generator).view(n, 5)
    x[:, 3:] = torch.where(torch.rand(n, 2, generator=generator) < 0.8, x[:, :1], x[:, 3:])
    count = torch.poisson(torch.full((n, 1), 3.0), generator=generator)
    return torch.cat([x.double(), count.double()], 1)


def sequences(n: int, generator: torch.Generator) -> Tensor:
    """Eight steps of a quantity that remembers its last value, and of a category."""
    noise = torch.randn(8, n, generator=generator).double()
    for t in range(1, 8):
        noise[t] = 0.8 * noise[t - 1] + 0.6 * noise[t]
    return torch.stack([noise.T, torch.randint(3, (n, 8), generator=generator).double()], 2)


def letters(n: int, generator: torch.Generator) -> Tensor:
    """Windows of 64 letters, in which each letter has two likely followers."""
    x = torch.randint(26, (n, 64), generator=generator)
    coin = torch.rand(n, 64, generator=generator)
    for t in range(1, 64):
        x[:, t] = torch.where(coin[:, t] < 0.9, (3 * x[:, t - 1] + (coin[:, t] < 0.45)) % 26, x[:, t])
    return x


def shaken(columns: slice = slice(None)) -> Blur:
    """Noise of a thousandth on some numbers of a row."""

    def blur(x: Tensor, generator: torch.Generator) -> Tensor:
        x = x.clone()
        x[..., columns] += 1e-3 * torch.randn(x[..., columns].shape, generator=generator)
        return x

    return blur


def hiss(x: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of a thousandth of the tones."""
    return x + (6 * torch.randn(x.shape, generator=generator)).round().to(x.dtype)


def one_in(count: int, values: int, columns: slice = slice(None)) -> Blur:
    """One value in so many moved by one, in some columns."""

    def blur(x: Tensor, generator: torch.Generator) -> Tensor:
        x = x.clone()
        moves = torch.rand(x[..., columns].shape, generator=generator) < 1 / count
        x[..., columns] = ((x[..., columns].long() + moves) % values).to(x.dtype)
        return x

    return blur


ROW = Columns(("a", "b", "c", "kind"), (False, False, False, True), ("", "", "", ""))
COARSE = Columns(("a", "b", "c", "d", "e", "count"), (True,) * 5 + (False,), ("",) * 6)
STEPS = Columns(tuple(f"{i}" for i in range(16)), (False, True) * 8, ("",) * 16)
KINDS: dict[str, Kind] = {
    "vectors": Kind(vectors, shaken(), by_distance()),
    "table": Kind(rows, shaken(slice(3)), by_rows(ROW)),
    "coarse table": Kind(coarse_rows, one_in(100, 3, slice(5)), by_rows(COARSE)),
    "sequences": Kind(sequences, shaken(slice(1)), by_rows(STEPS)),
    "images": Kind(images, one_in(100, 17), by_distance(Pixels(17))),
    "clips": Kind(lambda n, generator: images(n, generator, 4), one_in(100, 17), by_distance(Pixels(17))),
    "text": Kind(letters, one_in(40, 26), by_letters),
}
with contextlib.suppress(ImportError):  # sounds are of a wing
    from fourfold_speech.metrics import sound_features

    KINDS["sound"] = Kind(sounds, hiss, by_distance(sound_features("mel-statistics", 8000)))
GENERATORS = ("new", "typical", "copies", "near", "a fifth")


def samples(kind: Kind, generator_name: str, train: Tensor, generator: torch.Generator) -> Tensor:
    """The samples of a generator."""
    x = typical(kind.law(4 * N, generator)) if generator_name == "typical" else kind.law(N, generator)
    copies = train[torch.randint(len(train), (N,), generator=generator)]
    if generator_name == "near":
        return kind.blur(copies, generator)
    count = {"new": 0, "typical": 0, "a fifth": N // 5, "copies": N}[generator_name]
    return torch.cat([copies[:count], x[count:]])[torch.randperm(N, generator=generator)]


def typical(x: Tensor) -> Tensor:
    """The quarter of examples whose numbers deviate least from their medians."""
    flat = x.flatten(1).double()
    deviation = flat - flat.median(0).values
    return x[(deviation / deviation.abs().mean(0).clamp(min=1e-9)).square().sum(1).argsort()[: len(x) // 4]]


def rates(kind: Kind, times: int) -> Iterator[float]:
    """The percentage of repeats in which each of :data:`GENERATORS` is called a copier."""
    for name in GENERATORS:
        generator, alarms = torch.Generator().manual_seed(0), 0
        for _ in range(times):
            train, test, fresh = (kind.law(n, generator) for n in (TRAIN, N, N))
            alarms += repeats(kind.score(samples(kind, name, train, generator), train, test, fresh))
        yield round(100 * alarms / times, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of data, separated by commas")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "copies.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'kind':<12}" + "".join(f"{name:>10}" for name in GENERATORS))
    for name in arguments.only.split(","):
        start, percentages = time.process_time(), [*rates(KINDS[name], arguments.repeats)]
        print(f"{name:<12}" + "".join(f"{value:>10.1f}" for value in percentages), flush=True)
        row = {"kind": name} | dict(zip(GENERATORS, percentages, strict=True)) | {"repeats": arguments.repeats}
        write(arguments.out, row, time.process_time() - start)


def write(path: Path, row: Mapping[str, object], seconds: float) -> None:
    """Put the row of a kind in the place of its former one."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    rows = {cells["kind"]: cells for cells in before["rows"]} | {row["kind"]: row}
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    runs = {**before.get("runs", {}), str(row["kind"]): f"{date}, commit {commit()}, {seconds:.0f} s"}
    result = {
        "title": "Copies: percentages of generators that are called copiers",
        "order": 4,
        "command": "benchmarks/copies.py",
        "date": date,
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "runs": runs,
        "notes": [
            f"{N} samples, {TRAIN} training, {N} test and {N} validation examples of laws in closed form, drawn anew "
            "in each repeat. *new* and *typical* samples are draws of the law: their columns are false alarms.",
            "Runs, in seconds of the processor: " + "; ".join(f"{kind}: {run}" for kind, run in runs.items()) + ".",
        ],
        "rows": [rows[kind] for kind in KINDS if kind in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
