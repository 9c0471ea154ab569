"""Every recipe takes steps in every precision."""

import math
from dataclasses import replace

import pytest
import torch

from fourfold import checks
from fourfold.data import Split
from fourfold.engine.training import begin
from fourfold.paradigms import build, recipes
from fourfold.runs.precision import PRECISIONS
from fourfold.spaces import (
    Audio,
    Categorical,
    Identifier,
    Images,
    Numeric,
    Sequences,
    Table,
    Text,
    Vectors,
    Video,
)

KIND, PRICE = Categorical("kind", levels=("a", "b", "c")), Numeric("price", low=0, high=999)
SPACES = (Vectors(2, classes=3), Images(1, 4, 4, levels=17), Text("abcdef", length=24))
OTHERS = (
    Table((KIND, PRICE)),
    Sequences((Identifier("user"), Numeric("when", low=0, high=50), KIND, PRICE), "when", (0, 9), 6, "user"),
    Audio(512, 8000),
    Video(4, 8, 8, levels=17, frames=4),
)


def models() -> list[tuple[str, object, tuple[str, ...]]]:
    """Every recipe with every space that it models, and the precisions: all, or in some spaces bf16 alone."""
    found = []
    for name in recipes():
        for space in (*SPACES, *OTHERS):
            try:
                build(name, space, "xs")
            except TypeError:
                continue
            chosen = tuple(PRECISIONS) if space in SPACES else ("bf16",)
            found.append(pytest.param(name, space, chosen, id=f"{name}-{type(space).__name__}"))
    return found


@pytest.mark.parametrize(("name", "space", "precisions"), models())
def test_two_steps(name: str, space: object, precisions: tuple[str, ...]) -> None:
    """The second steps with weights that the first has changed, and with what its optimizers remember."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, space, "xs")
        split = Split(torch.randint(6, (200,))) if isinstance(space, Text) else Split(*checks.raw_examples(model, 16))
    loop = begin(model, split, replace(model.training_defaults, batch_size=8), precision=PRECISIONS["float32"])
    for precision in precisions:
        loop = loop.again(PRECISIONS[precision])
        losses = [loss for _ in range(2) for loss in loop.step(0.1).losses.values()]
        assert losses
        assert all(map(math.isfinite, losses)), precision


def test_every_space_is_modelled() -> None:
    """None was left out because an argument of its own was refused."""
    assert {type(case.values[1]) for case in models()} == {type(space) for space in (*SPACES, *OTHERS)}
