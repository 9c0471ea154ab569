"""Every kind of term, codec and network takes steps in every precision."""

import functools
import math
from dataclasses import replace

import pytest
import torch

import every_space
from every_space import SPACES
from fourfold import checks
from fourfold.core import GenerativeModel, Space
from fourfold.data import Split
from fourfold.engine.training import begin
from fourfold.paradigms import build
from fourfold.runs.precision import PRECISIONS
from fourfold.spaces import Text

IN_EVERY_PRECISION = ("vectors-by-class", "images", "text")
"""Spaces of all precisions; models of the others take steps in bf16 alone."""
OTHERS = ("images-by-caption", "table", "sequences", *every_space.OF_WINGS)


def built(name: str, space: Space) -> GenerativeModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name, space, "xs")


def kinds(pair: tuple[str, str]) -> set[object]:
    """The space, the kinds of terms, the codec that they meet, and each kind of network."""
    model = every_space.models()[pair]
    terms = tuple(type(term) for term in model.terms().values())
    return {pair[1], terms, type(model.codec)} | {type(network) for network in model.estimand.children()}


PAIRS = [pair for pair in every_space.models() if pair[1] in (*IN_EVERY_PRECISION, *OTHERS)]
CASES = every_space.covering(PAIRS, functools.cache(kinds))


@pytest.mark.parametrize(("name", "space"), CASES)
def test_two_steps_in_each_precision_have_finite_losses(name: str, space: str) -> None:
    """The second steps with weights that the first has changed, and with what its optimizers remember."""
    model = built(name, SPACES[space])
    examples = (torch.randint(6, (200,)), None) if isinstance(model.space, Text) else checks.raw_examples(model, 16)
    training = replace(model.training_defaults, batch_size=8)
    loop = begin(model, Split(*examples), training, precision=PRECISIONS["float32"])
    for precision in PRECISIONS if space in IN_EVERY_PRECISION else ("bf16",):
        loop = loop.again(PRECISIONS[precision])
        losses = [loss for _ in range(2) for loss in loop.step(0.1).losses.values()]
        assert losses
        assert all(map(math.isfinite, losses)), precision


def test_every_space_is_modelled() -> None:
    """None was left out because an argument of its own was refused."""
    assert {space for _, space in CASES} == {*IN_EVERY_PRECISION, *OTHERS}
