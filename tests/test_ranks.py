"""Two and four processes take the steps of one, for every recipe: part of ``make ranks``, since it takes minutes."""

import pytest
import torch

from fourfold import checks
from fourfold.paradigms import build, recipes
from fourfold.spaces import Images, Text, Vectors

SPACES = (Vectors(2), Images(1, 8, 8, levels=17), Text("abcdef", length=24))


def models():
    """A model of every recipe, of the first space that it models."""
    found = []
    for name in recipes():
        for space in SPACES:
            try:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    found.append(build(name, space, "xs"))
                break
            except TypeError:
                continue
    return found


@pytest.mark.ranks
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("sharded", [False, True])
def test_ranks_take_the_steps_of_one_process(world, sharded):
    checks.check_ranks(*models(), world=world, sharded=sharded)
