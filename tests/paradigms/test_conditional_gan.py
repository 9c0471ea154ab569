"""Conditional vectors: the categories of training and of sampling, and that rare ones are learned."""

import pytest
import torch

import fourfold
from fourfold.core import Batch
from fourfold.paradigms import build
from fourfold.paradigms.conditional_gan import RowGenerator, condition_rows
from fourfold.spaces import Categorical, Numeric, Table, Vectors

TABLE = Table(
    (Categorical("kind", categories=tuple("abcd")), Categorical("member", categories=("no", "yes"), missing=True))
)
SHARE = torch.tensor([0.9, 0.08, 0.015, 0.005])


def rows(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    kind = torch.multinomial(SHARE, n, True, generator=generator)
    return torch.stack([kind, (kind > 0).long()], 1)


@pytest.fixture
def generator() -> RowGenerator:
    torch.manual_seed(0)
    generator = build("adversarial/conditional", TABLE, "xs").estimand
    generator.counts[:] = torch.cat([10000 * SHARE, torch.tensor([9000.0, 1000.0, 0.0])])
    return generator


@pytest.mark.agreement
def test_training_tells_categories_in_proportion_to_the_logarithm_of_their_counts(generator):
    torch.manual_seed(1)
    x = rows(8_000)
    data = condition_rows(generator, Batch(x.float()), 0.0)
    first = data.column == 0
    share = torch.bincount(data.c[first], minlength=7)[:4] / first.sum()
    wanted = (4000 * SHARE).log1p()
    torch.testing.assert_close(share, wanted / wanted.sum(), atol=0.03, rtol=0)
    assert (data.rows.gather(1, data.c[:, None]) == 1).all(), "the row has the category it is conditioned on"
    assert torch.equal(data.rows[:, :4].argmax(1) > 0, data.rows[:, 4:7].argmax(1) == 1), "and it is a row of the data"
    assert 0.45 < first.double().mean() < 0.55


def test_samples_are_conditioned_on_categories_as_often_as_the_data_have_them(generator):
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(0)).double()
    share = torch.bincount(generator._token(torch.zeros(len(u), dtype=torch.long), u), minlength=7) / len(u)
    torch.testing.assert_close(share[:4], SHARE, atol=0.01, rtol=0)
    assert share[4:].sum() == 0
    other = generator._token(torch.ones(len(u), dtype=torch.long), u)
    assert set(other.tolist()) == {4, 5}, "a category that no row has is never drawn"


def test_counts_follow_the_data_in_training_alone():
    model = build("adversarial/conditional", TABLE, "xs")
    x = rows(500)
    critic = model.terms()["critic"]
    before = model.estimand.counts.clone()
    critic.eval()
    critic(model.encode(x))
    assert torch.equal(model.estimand.counts, before)
    critic.train()
    critic(model.encode(x))
    assert torch.equal((model.estimand.counts - before)[:4], torch.bincount(x[:, 0], minlength=4).float())


@pytest.mark.agreement
def test_rare_categories_are_learned():
    model = build("adversarial/conditional", TABLE, "xs")
    for _ in fourfold.train(model, rows(4000), budget="150 steps", seed=0):
        pass
    x = model.sample(4000)
    share = torch.bincount(x[:, 0], minlength=4) / len(x)
    assert (share > 0).all(), share
    assert float((share - SHARE).abs().sum()) < 0.3, share


def test_other_spaces_are_refused():
    with pytest.raises(TypeError, match="must be Table for this recipe, got Vectors; use adversarial"):
        build("adversarial/conditional", Vectors(3))
    assert build("adversarial/conditional", Table((Numeric("n", low=0, high=90),)), "xs").sample(3).shape == (3, 1)
