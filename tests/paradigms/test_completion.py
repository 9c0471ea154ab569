"""Rows completed by models of tables, against all rows of a table gone through: one law for all that is asked."""

from itertools import permutations

import pytest
import torch

from fourfold.core import GenerativeModel
from fourfold.engine import Run
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Numeric, Table
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.tasks import classify, complete, prob_given
from fourfold.vocabulary import Kind

TABLE = Table(
    (
        Categorical("kind", categories=("x", "y", "z")),
        Categorical("member", categories=("no", "yes")),
        Numeric("age", low=0, high=11),
        Numeric("price", "float64", resolution=0.25, low=0, high=24, decimals=2, missing=True),
    )
)


def shaken(name: str, scale: float = 0.1) -> GenerativeModel:
    """An untrained model whose columns depend on each other, in each order of the columns otherwise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, TABLE, "xs").eval()
        for p in model.parameters():
            p.data.add_(scale * torch.randn_like(p))
        model.codec.fit(TABLE.examples(300, torch.Generator().manual_seed(1)))
    return model


def model_of_trees() -> GenerativeModel:
    """Trees and mixtures of rows whose columns depend on each other."""
    x = TABLE.examples(600, torch.Generator().manual_seed(2))
    x[:, 2] = 4 * x[:, 0] + x[:, 2] % 4
    x[:, 3] = torch.where(x[:, 3] == MISSING, MISSING, x[:, 2] + x[:, 3] % 8)
    x[:, 1] = torch.where(x[:, 3] % 5 > 0, (x[:, 2] > 5).long(), x[:, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build("autoregressive/trees", TABLE, "xs").eval()
        model.fit_statistics(x)
    return model


@pytest.fixture(scope="module", params=["autoregressive", "autoregressive/trees", "diffusion/masked"])
def law(request):
    """A model, all rows of the table, and the mass of each among samples of the model."""
    model, x = model_of_trees() if request.param.endswith("trees") else shaken(request.param), TABLE.support(0, 0.0)[0]
    if request.param.startswith("autoregressive"):
        return model, x, model.log_prob(x, batch_size=4096).nats.double().exp()
    z, log_mass = model.codec.encode(x)
    each = []
    with torch.no_grad():
        for order in permutations(range(4)):
            observed_mask, nats = torch.zeros(len(x), 4, dtype=torch.bool), log_mass.double()
            for i in order:
                nats = nats + model.estimand.conditional(z, observed_mask, i).gather(1, z[:, [i]])[:, 0]
                observed_mask[:, i] = True
            each.append(nats)
    return model, x, torch.stack(each).exp().mean(0)


def distance(drawn, x, p):
    """The total variation between draws and a distribution over rows, in units of what is expected of true draws."""
    p = p / p.sum()
    counts = (drawn[:, None] == x[None]).all(2).double().sum(0)
    assert counts.sum() == len(drawn)
    expected = (2 * p * (1 - p) / (torch.pi * len(drawn))).sqrt().sum()
    return float((counts / len(drawn) - p).abs().sum() / expected)


@pytest.mark.parametrize(
    ("given", "inside"),
    [
        ({"price": (0.0, 0.5)}, lambda x: (x[:, 3] >= 0) & (x[:, 3] <= 2)),
        ({"member": "yes"}, lambda x: x[:, 1] == 1),
        ({"price": (0.0, 0.5), "member": "yes"}, lambda x: (x[:, 3] >= 0) & (x[:, 3] <= 2) & (x[:, 1] == 1)),
    ],
)
def test_given_values_are_conditions_of_the_law_of_samples(law, given, inside):
    model, x, p = law
    drawn = Run(model).sample(800, given=given)
    assert distance(drawn, x, p * inside(x)) < 1.25


def test_a_gap_is_drawn_with_the_probabilities_that_classify_tells(law):
    model, x, p = law
    rows = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:12]]
    observed_mask = torch.tensor([False, True, True, True])
    drawn = complete(model, rows.repeat_interleave(200, 0), observed_mask, seed=3)[:, 0].view(12, 200)
    same = torch.stack([(x[:, 1:] == row[1:]).all(1) for row in rows])
    truth = torch.stack([p[some] for some in same])
    truth = truth / truth.sum(1, keepdim=True)
    share = torch.stack([(drawn == category).double().mean(1) for category in range(3)], 1)
    noise = (2 * truth * (1 - truth) / (torch.pi * 200)).sqrt().sum()
    assert float((share - truth).abs().sum() / noise) < 1.5
    if model.likelihood.kind is Kind.EXACT:
        torch.testing.assert_close(classify(model, rows, "kind"), truth, atol=1e-5, rtol=0)


def test_the_probability_of_a_gap_is_that_of_all_rows(law):
    model, x, p = law
    rows = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))[:20]]
    observed_mask = torch.tensor([True, False, True, False])
    log_p = prob_given(model, rows, observed_mask, {3: torch.tensor([MISSING]), 1: torch.tensor([1])})
    like = (x[None, :, [0, 2]] == rows[:, None, [0, 2]]).all(2).double() * p
    for k, event in enumerate((x[:, 3] == MISSING, x[:, 1] == 1)):
        truth = (like * event).sum(1) / like.sum(1)
        error = (log_p[:, k] - truth) / (truth * (1 - truth) / 32).sqrt()
        assert float(error.square().mean()) < 1.5
        assert float((log_p[:, k] - truth).mean().abs()) < 0.05


def test_a_value_never_seen_is_left_out_of_the_condition(law):
    model, x, p = law
    row = torch.tensor([[UNSEEN, 1, 0, 0]]).repeat(1000, 1)
    drawn = complete(model, row, torch.tensor([True, True, False, False]), seed=2)
    assert (drawn[:, 0] == UNSEEN).all()
    like = p * (x[:, 1] == 1)
    for i, codes in ((2, range(12)), (3, [MISSING])):
        for code in codes:
            truth, share = float(like[x[:, i] == code].sum() / like.sum()), float((drawn[:, i] == code).double().mean())
            assert abs(share - truth) < 5 * (truth * (1 - truth) / 1000) ** 0.5 + 1e-3


def test_values_that_cannot_be_together_are_refused_by_name():
    model = shaken("autoregressive")
    conditional = model.estimand.net.heads.bias[model.estimand.net.heads.place[1][0]]
    conditional.data[model.estimand.net.heads.place[1][1], 0, 1] = -torch.inf
    x = torch.zeros(3, 4, dtype=torch.int64)
    observed_mask = torch.tensor([[True] * 4, [True, False, True, True], [True] * 4])
    with pytest.raises(ValueError, match="row 1: the model has no row with these observed values"):
        complete(model, x, observed_mask, {1: torch.tensor([1])})
