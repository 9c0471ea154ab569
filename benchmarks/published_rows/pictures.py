"""I1. Fashion-MNIST: exact bits a dimension of one model after 600 s, by ``pixels.py``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pixels

import fourfold
from published_rows import Anchor, Line, Options, Row

SET = "Fashion-MNIST"


def anchors(name: str, options: Options) -> Iterator[Anchor]:
    """The numbers of images and of their pixels."""
    data = fourfold.load("fashion-mnist")
    yield Anchor("test images", 10_000, len(data.test), 0)
    yield Anchor("other images", 60_000, len(data.train) + len(data.validation), 0)
    yield Anchor("pixels of an image", 784, data.test.x[0].numel(), 0)


def measure(name: str, options: Options) -> Iterator[Line]:
    """The autoregressive model: run it alone on the machine."""
    asked = argparse.Namespace(recipe="autoregressive", budget="600s", size="auto", seed=0, test=10_000, grid=None)
    yield line(pixels.measured(asked))


def line(record: dict[str, Any]) -> Line:
    """A record of ``pixels.py`` as a line."""
    bits, error = record["bits/dim, test"], 1.96 * record["standard error"]
    system = f"fourfold {record['recipe']} {record['size']}, {record['steps']} steps"
    figures = {"bits/dim": (bits, bits - error, bits + error)}
    return Line(SET, system, figures, record["kind"], f"600 on {record['threads']} cores", seeds=1)


SOURCE = "Juice-jl/ProbabilisticCircuits.jl"
ROW = Row(
    title="Fashion-MNIST, bits a dimension (I1)",
    figure="bits/dim",
    lower=True,
    protocol="Mean bits for each of 784 pixels of 8 bits, over all 10,000 test images.",
    source="Juice-jl/ProbabilisticCircuits.jl at e531bb0, examples/train_mnist_hclt.ipynb, figures of Liu, Mandt, Van "
    "den Broeck, ICLR 2022",
    data="Debian's package dataset-fashion-mnist",
    chosen="presets, with test figures in sight (docs/notes)",
    interval="95 % over test images",
    sets=(SET,),
    published=(
        Line(SET, "hierarchical VAE", {"bits/dim": 3.28}, "bound", source=SOURCE),
        Line(SET, "probabilistic circuit (HCLT)", {"bits/dim": 3.34}, "exact", "about 300 on a GPU (MNIST)", SOURCE),
        Line(SET, "integer discrete flow", {"bits/dim": 3.47}, "exact", source=SOURCE),
        Line(SET, "PixelVAE", {"bits/dim": 3.66}, "bound", source=SOURCE),
    ),
    anchors=anchors,
    measure=measure,
    notes=("An older commit had 2.804 ± 0.009 after 600 s on the same machine.",),
)
