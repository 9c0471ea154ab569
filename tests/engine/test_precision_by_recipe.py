"""Every recipe takes three steps in every precision."""

import math
from dataclasses import replace

import pytest
import torch

from fourfold import checks
from fourfold.data import Split
from fourfold.engine.precision import PRECISIONS
from fourfold.engine.training import begin
from fourfold.paradigms import build, recipes
from fourfold.spaces import Images, Text, Vectors

SPACES = (Vectors(2, classes=3), Images(1, 8, 8, levels=17), Text("abcdef", length=24))


def models() -> list[tuple[str, object]]:
    """Every recipe with every space that it models."""
    found = []
    for name in recipes():
        for space in SPACES:
            try:
                build(name, space, "xs")
            except TypeError:
                continue
            found.append(pytest.param(name, space, id=f"{name}-{type(space).__name__}"))
    return found


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "space"), models())
def test_three_steps(name: str, space: object, precision: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, space, "xs")
        split = Split(torch.randint(6, (200,))) if isinstance(space, Text) else Split(*checks.raw_examples(model, 16))
    training = replace(model.training_defaults, batch_size=8)
    loop = begin(model, split, training, precision=PRECISIONS["float32"]).again(PRECISIONS[precision])
    losses = [loss for _ in range(3) for loss in loop.step(0.1).losses.values()]
    assert losses
    assert all(map(math.isfinite, losses))
