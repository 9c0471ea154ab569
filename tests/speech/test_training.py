"""Training models of transcripts: in low precision, and in several processes as in one."""

import math
from dataclasses import replace

import pytest
import torch

from fourfold import checks
from fourfold.core import GenerativeModel
from fourfold.data import Split
from fourfold.engine.training import begin
from fourfold.paradigms import build, cards, recipes, resolve
from fourfold.runs.precision import PRECISIONS
from fourfold.spaces import Lines, Text
from fourfold_speech.space import Audio

SPACE = Lines(Text("abcdef", 12), given=Audio(4000, 8000))


def built(name: str) -> GenerativeModel | None:
    """A model of one recipe; ``None`` where it does not model transcripts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return build(name, SPACE, "xs")
        except TypeError:
            return None


def test_two_recipes_model_transcripts() -> None:
    names = {resolve(name, SPACE) for name in recipes() if built(name) is not None}
    assert names == {"autoregressive/likelihood", "diffusion/masked"}


@pytest.mark.parametrize("name", ["autoregressive", "diffusion/masked"])
def test_two_steps_in_low_precision(name: str) -> None:
    model = built(name)
    assert model is not None
    split = Split(*checks.raw_examples(model, 16))
    loop = begin(model, split, replace(model.training_defaults, batch_size=8), precision=PRECISIONS["float32"])
    loop = loop.again(PRECISIONS["bf16"])
    losses = [loss for _ in range(2) for loss in loop.step(0.1).losses.values()]
    assert losses
    assert all(map(math.isfinite, losses))


@pytest.mark.ranks
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("sharded", [False, True])
def test_ranks_take_the_steps_of_one_process(world: int, sharded: bool) -> None:
    models = [model for name in cards() if (model := built(name)) is not None]
    checks.check_ranks(*models, world=world, sharded=sharded)
