"""Models of tables: masses that sum to 1, and conditionals held against all rows of a small table."""

from itertools import permutations

import pytest
import torch

import fourfold
from fourfold import checks
from fourfold.core import GenerativeModel
from fourfold.paradigms import build
from fourfold.paradigms.masked import MaskedBound, Unmasking
from fourfold.spaces import Categorical, Categories, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.tasks import rejection
from fourfold.tasks.completing import complete, conditional, log_prob_given
from fourfold.vocabulary import Kind
from shorter import shorter

SMALL = Table(
    (
        Categorical("kind", categories=("x", "y", "z"), missing=True),
        Numeric("price", low=-5, high=40, missing=True),
        Categorical("member", categories=("no", "yes")),
    )
)


def shaken(name: str, space: Table = SMALL, scale: float = 0.5) -> GenerativeModel:
    """An untrained model whose columns depend on each other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, space, "xs").eval()
        for p in model.parameters():
            p.data.add_(scale * torch.randn_like(p))
        model.codec.fit(space.examples(300, torch.Generator().manual_seed(1)))
    return model


@pytest.fixture(scope="module")
def model():
    return shaken("autoregressive")


def all_masses(model):
    x = SMALL.support(0, 0.0)[0]
    return x, model.log_prob(x, batch_size=4096).nats.double().exp()


def test_masses_of_all_rows_sum_to_one(model):
    _, mass = all_masses(model)
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
    assert model.log_prob(SMALL.support(0, 0.0)[0][:2]).kind is Kind.EXACT


def test_masses_sum_to_one_in_every_order(model):
    x = SMALL.support(0, 0.0)[0]
    z, log_mass = model.codec.encode(x)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        with torch.no_grad():
            nats = model.estimand.in_order(z, torch.tensor(order)).sum(1) + log_mass
        assert float(nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_samples_follow_their_masses(model):
    x, mass = all_masses(model)
    drawn = model.sample(2000, batch_size=4096)
    for i, column in enumerate(SMALL.modelled):
        for code in x[:, i].unique():
            p, share = float(mass[x[:, i] == code].sum()), float((drawn[:, i] == code).double().mean())
            assert abs(share - p) < 5 * (p * (1 - p) / 2000) ** 0.5 + 1e-3, (column.name, code)


def test_a_row_is_completed_from_its_conditional(model):
    """The first column given the last two unknown is p(x_2, x_3 | x_1): that of all rows, since it comes first."""
    x, mass = all_masses(model)
    row = torch.tensor([[1, 0, 0]]).repeat(2000, 1)
    drawn = complete(model, row, torch.tensor([True, False, False]))
    assert (drawn[:, 0] == 1).all()
    given = mass * (x[:, 0] == 1)
    for i in (1, 2):
        for code in x[:, i].unique():
            p = float(given[x[:, i] == code].sum() / given.sum())
            share = float((drawn[:, i] == code).double().mean())
            assert abs(share - p) < 5 * (p * (1 - p) / 2000) ** 0.5 + 1e-3


def test_restricted_columns_are_drawn_exactly(model):
    x, mass = all_masses(model)
    allowed = {0: torch.tensor([0, MISSING]), 1: torch.arange(3, 30), 2: torch.tensor([1])}
    inside = torch.stack([torch.isin(x[:, i], codes) for i, codes in allowed.items()]).all(0)
    given = mass * inside / mass[inside].sum()
    drawn = complete(model, torch.zeros(2000, 3).long(), torch.zeros(3, dtype=torch.bool), allowed)
    assert all(torch.isin(drawn[:, i], codes).all() for i, codes in allowed.items())
    for i in allowed:
        for code in x[:, i].unique():
            p, share = float(given[x[:, i] == code].sum()), float((drawn[:, i] == code).double().mean())
            assert abs(share - p) < 5 * (p * (1 - p) / 2000) ** 0.5 + 1e-3


def test_rows_may_know_different_columns(model):
    x = SMALL.examples(200, torch.Generator().manual_seed(2))
    observed_mask = torch.rand(200, 3, generator=torch.Generator().manual_seed(3)) < 0.5
    drawn = complete(model, x, observed_mask, seed=5)
    SMALL.check(drawn)
    assert torch.equal(drawn[observed_mask], x[observed_mask])
    parts = torch.cat(
        [complete(model, x[:128], observed_mask[:128], seed=5), complete(model, x, observed_mask, seed=5)[128:]]
    )
    assert (drawn == parts).double().mean() > 0.99, "a row is drawn the same whatever its neighbours"


def test_a_value_never_seen_says_nothing_and_stays(model):
    x = torch.tensor([[UNSEEN, 3, 0]])
    observed_mask = torch.tensor([[True, False, False]])
    same = [complete(model, x, observed_mask, seed=s)[0, 1:] for s in range(5)]
    blind = [complete(model, x, torch.tensor([[False, False, False]]), seed=s) for s in range(5)]
    assert all(complete(model, x, observed_mask, seed=s)[0, 0] == UNSEEN for s in range(5))
    assert len(same) == len(blind)
    nats = log_prob_given(model, x, observed_mask).nats
    assert torch.isfinite(nats).all()


def test_conditional_log_probabilities_obey_the_chain_rule(model):
    """log p(x) = log p(x_1) + log p(x_2, x_3 | x_1), and each conditional sums to 1."""
    x = SMALL.support(0, 0.0)[0]
    none, first = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, False])
    alone = conditional(model, x, none, 0).gather(1, model.codec.encode(x)[0][:, :1])[:, 0]
    torch.testing.assert_close(model.log_prob(x).nats, alone + log_prob_given(model, x, first).nats, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.log_prob(x).nats, log_prob_given(model, x, none).nats, atol=1e-4, rtol=0)
    rest = conditional(model, x, ~torch.tensor([False, False, True]), 2).exp().sum(1)
    torch.testing.assert_close(rest, torch.ones(len(x)), atol=1e-5, rtol=0)


def test_what_cannot_be_completed_is_refused(model):
    x, none = torch.zeros(4, 3).long(), torch.zeros(3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"bool of shape \(4, 3\).*torch.int64"):
        complete(model, x, none.long())
    with pytest.raises(ValueError, match="price must have a value that the model can draw"):
        complete(model, x, none, {1: torch.tensor([99])})
    with pytest.raises(TypeError, match="autoregressive, diffusion/masked"):
        complete(build("flow", Vectors(3), "xs"), torch.zeros(4, 3), none)


def test_unmasking_draws_from_the_mixture_of_all_orders_and_its_bound_lies_below():
    model = shaken("diffusion/masked")
    x = SMALL.support(0, 0.0)[0]
    z, log_mass = model.codec.encode(x)
    by_order = []
    with torch.no_grad():
        for order in permutations(range(3)):
            observed_mask, nats = torch.zeros(len(x), 3, dtype=torch.bool), log_mass.double()
            for i in order:
                nats = nats + model.estimand.conditional(z, observed_mask, i).gather(1, z[:, [i]])[:, 0]
                observed_mask[:, i] = True
            by_order.append(nats)
    mass = torch.stack(by_order).exp().mean(0)
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
    bound = model.with_parts(likelihood=MaskedBound(96)).log_prob(x, batch_size=4096)
    assert bound.kind is Kind.LOWER_BOUND
    off = (bound.nats - torch.stack(by_order).mean(0)) / bound.std_error
    assert float(off.square().mean()) < 2, "the draws' mean is the mean of log-masses over the orders"
    assert float((bound.nats - mass.log()).mean()) < 0
    drawn = model.sample(2000, batch_size=2048)
    SMALL.check(drawn)
    for i in range(3):
        for code in x[:, i].unique():
            p, share = float(mass[x[:, i] == code].sum()), float((drawn[:, i] == code).double().mean())
            assert abs(share - p) < 5 * (p * (1 - p) / 2000) ** 0.5 + 1e-3


def test_fewer_steps_of_unmasking_are_said_to_be_an_approximation():
    assert Unmasking().faithful
    assert not Unmasking(2).faithful
    assert shaken("diffusion/masked").with_parts(sampler=Unmasking(2)).sample(5).shape == (5, 3)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        Unmasking(-1)


def test_a_denoiser_completes_rows_as_an_autoregressive_model_does():
    model = shaken("diffusion/masked")
    x, observed_mask = SMALL.examples(300, torch.Generator().manual_seed(2)), torch.tensor([False, True, False])
    drawn = complete(model, x, observed_mask, {2: torch.tensor([1])})
    assert torch.equal(drawn[:, 1], x[:, 1])
    assert (drawn[:, 2] == 1).all()


def test_a_decoders_bound_lies_below_its_mass():
    """The mass of a row is its mean over codes of the prior; over all rows it sums to 1."""
    model = shaken("latent-variable", scale=0.1)
    x = SMALL.support(0, 0.0)[0]
    bound = model.log_prob(x, batch_size=4096)
    assert bound.kind is Kind.LOWER_BOUND
    tokens, log_mass = model.codec.encode(x)
    with torch.no_grad():
        given = model.estimand(torch.randn(1000, *model.estimand.latent, generator=torch.Generator().manual_seed(0)))
        nats = torch.stack([given.log_prob(row.expand(1000, 3)) for row in tokens]).double()
    log_p = nats.logsumexp(1) - torch.tensor(1000.0).log() + log_mass
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-4)
    assert float(bound.nats.mean()) < float(log_p.mean())


@pytest.mark.parametrize("name", ["flow", "flow/coupling"])
def test_a_flows_bound_lies_below_the_mass(name):
    """The masses of codes are the flow's over their boxes: they sum to 1, and what is drawn of them to less."""
    model = shaken(name, scale=0.03)
    x = SMALL.support(0, 0.0)[0]
    draws = torch.stack([model.log_prob(x, seed=s, batch_size=4096, draws=1).nats for s in range(60)]).double()
    assert model.log_prob(x[:2]).kind is Kind.LOWER_BOUND
    mass = draws.exp().mean(0).sum()
    assert float(mass) == pytest.approx(1, abs=0.1)
    assert float(draws.mean(0).exp().sum()) < float(mass)


def test_other_models_are_searched_for_rows_that_agree_within_a_limit(monkeypatch):
    model = shaken("adversarial", scale=0.05)
    x, observed_mask = torch.tensor([[1, 0, 0], [2, 0, 0]]).repeat(20, 1), torch.tensor([True, False, False])
    drawn = complete(model, x, observed_mask, {2: torch.tensor([1])})
    SMALL.check(drawn)
    assert torch.equal(drawn[:, 0], x[:, 0])
    assert (drawn[:, 2] == 1).all()
    assert len(drawn[:, 1].unique()) > 5
    monkeypatch.setattr(rejection, "LEAST", 2048)
    monkeypatch.setattr(rejection, "DRAWS", 10)
    with pytest.raises(ValueError, match=r"only 0 of 2,048 draws .* 1 rows: .*\(autoregressive, diffusion"):
        complete(model, x[:1], observed_mask, {1: torch.tensor([999])})
    rows = SMALL.examples(100, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="different sets of observed values must be at most 64"):
        complete(model, rows, torch.tensor([True, True, False]))
    with pytest.raises(TypeError, match="autoregressive, diffusion/masked"):
        log_prob_given(model, rows, observed_mask)


def wide(columns):
    return Table(tuple(Categorical(f"c{i}", categories=("a", "b")) for i in range(columns)))


def test_networks_of_wide_tables_grow_with_their_width_alone():
    """Twice the columns need about twice the weights."""
    weights = [sum(p.numel() for p in build("autoregressive", wide(c), "s").parameters()) for c in (200, 400)]
    assert 1.7 < weights[1] / weights[0] < 2.6


CONTRACT = Table((*SMALL.schema, Numeric("weight", low=0, high=10**9, resolution=0.001)), given=Categories.numbered(3))


@pytest.mark.parametrize("check", ["loss", "samples", "likelihood", "saved"])
@pytest.mark.parametrize(
    "name",
    [
        "autoregressive",
        "diffusion/masked",
        "diffusion/joint",
        "latent-variable",
        "adversarial",
        "adversarial/conditional",
        "flow",
        "latent-flow",
        "energy",
    ],
)
def test_contract(name, check):
    """The checks that depend on columns, with a number of many values and labels. The others: ``test_contract.py``."""
    model = shaken(name, CONTRACT, 0.02)
    of_any_steps = check in ("likelihood", "saved")
    checks.MODEL_CHECKS[check](shorter(model) if of_any_steps else model)


@pytest.mark.parametrize(
    ("name", "slack"),
    [
        pytest.param("autoregressive", 0.15, marks=pytest.mark.agreement),
        pytest.param("diffusion", 0.15, marks=pytest.mark.agreement),
        ("diffusion/joint", 0.5),
    ],
)
def test_tables_learn(name, slack):
    """One column copies another, and a number follows it: held-out nats fall to nearly those of the truth."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(3, (3000, 1), generator=generator)
    x = torch.cat([kind, 10 * kind + torch.randint(5, kind.shape, generator=generator), kind % 2], 1)
    model = build(name, SMALL, "xs")
    for _ in fourfold.train(model, x[:2500], budget="300 steps"):
        pass
    truth = -float(torch.tensor(15.0).log())
    assert truth - slack < model.log_prob(x[2500:]).mean()[0] < truth + 0.02


def test_few_rows_have_few_bins_and_dropout():
    """The schema says of how many rows it is; without that number, presets are those of many rows."""
    price = Numeric("price", low=0, high=10**6)
    for rows, bins, dropout in [
        (None, 512, 0.0),
        (100, 32, 0.4),
        (2000, 89, 0.4),
        (8000, 179, 0.1),
        (10**6, 512, 8e-4),
    ]:
        space = Table((price, SMALL.schema[0]), observed=rows)
        model = build("autoregressive/any-order", space, "s")
        assert model.codec.sizes == (bins, 4)
        assert model.estimand.net.dropout == pytest.approx(dropout)
        assert build("diffusion/joint", space, "s").codec.quantities.tokens.sizes == (bins,)
    assert Table((price,), observed=5) == Table((price,)), "one schema is one space, whatever it was inferred from"


@pytest.mark.parametrize("name", ["autoregressive", "autoregressive/any-order", "diffusion/masked", "flow", "energy"])
def test_very_wide_tables_are_refused_with_the_models_that_take_them(name):
    with pytest.raises(TypeError, match="at most 2,000 columns, got 2,001: leave columns out, or use"):
        build(name, wide(2001), "xs")


@pytest.mark.parametrize("name", ["latent-variable", "diffusion/joint"])
def test_networks_and_batches_of_very_wide_tables_fit_into_memory(name):
    space = Table(tuple(Numeric(f"x{i}", low=0, high=999) for i in range(4000)), observed=10**6)
    with torch.device("meta"):
        model = build(name, space, "s")
    assert sum(weight.numel() for weight in model.parameters()) < 5e7
    assert model.training_defaults.batch_size * sum(model.codec.sizes) <= 2**24


@pytest.mark.parametrize("name", ["latent-variable", "adversarial"])
def test_very_wide_tables_are_modelled(name):
    assert build(name, wide(2001), "xs").sample(2).shape == (2, 2001)


def test_joint_diffusion_learns_from_very_wide_tables():
    model = build("diffusion/joint", wide(2001), "xs")
    x = wide(2001).examples(2, torch.Generator().manual_seed(0))
    (term,) = model.terms().values()
    assert term(model.encode(x)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("diffusion/denoising", "use diffusion/masked or diffusion/joint"),
        ("energy/denoising", "use energy/noise-contrastive"),
        ("energy/persistent", "use energy/noise-contrastive"),
        ("energy/rbm", "use energy/noise-contrastive"),
        ("flow/glow", "use flow/spline for vectors and tables"),
        ("flow/tarflow", "use flow/spline for vectors and tables"),
    ],
)
def test_recipes_that_model_no_tables_name_one_that_does(name, way):
    with pytest.raises(TypeError, match=f"got Table; {way}"):
        build(name, SMALL, "xs")


@pytest.mark.parametrize(
    "name", ["flow/spline", "flow/maf", "flow/mixture", "flow/coupling", "flow/realnvp", "flow/continuous"]
)
def test_flows_of_vectors_model_tables(name):
    model = build(name, SMALL, "xs")
    model.codec.fit(SMALL.examples(200, torch.Generator().manual_seed(0)))
    x = model.sample(8)
    SMALL.check(x)
    assert torch.isfinite(model.log_prob(x).nats).all()
