"""Two and four processes take the steps of one, for every recipe: part of ``make ranks``, since it takes minutes."""

import pytest
import torch

from every_space import APART, KIND, PRICE, ROWS
from fourfold import checks
from fourfold.paradigms import build, cards, recipes
from fourfold.spaces import Categories, Images, Lines, Table, Text, Vectors

SPACES = (
    Vectors(2),
    Images(1, 8, 8, n_values=17),
    Text("abcdef", length=24),
    Table((KIND, PRICE)),
    Table((KIND, PRICE), given=Categories.numbered(2)),
    Images(3, 7, 10, given=Categories.numbered(3)),
    Images(3, 8, 6, given=Lines.of_bytes(12)),
    *APART.values(),
)
OTHERS = (*APART.values(), ROWS)


def built(name, space):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name, space, "xs")


def pairs():
    """Every recipe with the first space that it models, and every paradigm with each of the other spaces."""
    for name in recipes():
        yield name, next(space for space in SPACES if models(name, space))
    yield "latent-variable", Images(3, 7, 10, given=Categories.numbered(3))  # its prior is fitted in training
    for name in cards():
        yield from ((name, space) for space in OTHERS if models(name, space))


def models(name, space):
    try:
        built(name, space)
    except TypeError:
        return False
    return True


@pytest.mark.ranks
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("sharded", [False, True])
def test_ranks_take_the_steps_of_one_process(world, sharded):
    checks.check_ranks(*(built(name, space) for name, space in pairs()), world=world, sharded=sharded)
