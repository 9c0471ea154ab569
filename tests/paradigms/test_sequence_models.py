"""Models of sequences: exact masses against enumeration, and chains, autoregressions and lengths that are recovered."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

import fourfold
from fourfold import checks
from fourfold.baselines import FirstOrderRows, IndependentRows
from fourfold.core import Noise, count_evaluations
from fourfold.core.evaluations import evaluating
from fourfold.data import load
from fourfold.metrics.sequences import autocorrelations, lengths, transition_matrix
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Categories, Identifier, Numeric, Sequences
from fourfold.spaces.sequences import ABSENT
from fourfold.tasks.forecasting import Prefixes, forecast_prefixes

TINY = Sequences(
    (Identifier("user"), Numeric("when", low=0, high=2), Categorical("kind", categories=("a", "b"))),
    "when",
    (0, 1),
    3,
    "user",
)
LAST = replace(TINY, schema=(TINY.schema[0], TINY.schema[2], TINY.schema[1]))
"""The order column stands behind another: the network's columns begin with a value, not with the start."""
WINDOWS = Sequences(
    (Numeric("when", low=0, high=9), Categorical("kind", categories=("a", "b", "c"))), "when", (1, 2), 3
)


def disturbed(name, space, scale=0.4):
    """An untrained model, away from its symmetric start."""
    torch.manual_seed(1)
    model = build(name, space, "xs").eval()
    for p in model.parameters():
        p.data.add_(scale * torch.randn_like(p))
    return model


@pytest.mark.parametrize("space", [TINY, LAST, WINDOWS], ids=["keyed", "ordered by the last", "windows"])
def test_masses_of_all_sequences_sum_to_one(space):
    every, _ = space.support(0, 0)
    space.check(every)
    assert len(torch.unique(every, dim=0)) == len(every)
    checks.check_integrates(disturbed("autoregressive", space), tolerance=1e-4)


@pytest.mark.parametrize("space", [TINY, LAST, WINDOWS], ids=["keyed", "ordered by the last", "windows"])
def test_samples_have_the_frequencies_that_the_chain_rule_tells(space):
    model = disturbed("autoregressive", space, 0.15)
    x = model.sample(6000, batch_size=2048)
    every, counts = torch.unique(x, dim=0, return_counts=True)
    p = model.log_prob(every).nats.double().exp()
    z = (counts / len(x) - p) / (p * (1 - p) / len(x)).sqrt()
    often = p * len(x) > 20
    assert often.sum() >= 8
    assert float(z[often].abs().max()) < 4.5


@pytest.mark.parametrize("space", [TINY, LAST, WINDOWS], ids=["keyed", "ordered by the last", "windows"])
def test_logits_of_one_token_after_the_other_are_those_that_score(space):
    """Sequences end at different times, and those that go on take the places of those that ended."""
    model = disturbed("autoregressive", space, 0.15)
    estimand, nats = model.estimand, []
    with torch.no_grad():
        state = estimand.begin(64)
        for _ in range(*estimand.event):
            logits = estimand.logits(state)
            token = torch.multinomial(logits.exp(), 1)[:, 0]
            nats.append(logits.gather(1, token[:, None])[:, 0])
            estimand.take(state, token)
        assert torch.allclose(torch.stack(nats, 1), estimand(state.z), atol=1e-5)
    assert space.key is None or len(space.row_counts(model.codec.decode(state.z)).unique()) > 1


@pytest.mark.parametrize("label", [None, 1])
def test_going_on_from_rows_is_the_conditional_distribution(label):
    space = TINY if label is None else TINY.conditioned_on(Categories.numbered(2))
    model = disturbed("autoregressive", space, 0.15)
    every, _ = TINY.support(0, 0)
    p = model.log_prob(every, label).nats.double().exp()
    given = every[(TINY.row_counts(every) == 1)][1]
    x = torch.full((5000, *TINY.shape), ABSENT)
    x[:] = given
    cond = None if label is None else torch.full((len(x),), label)
    begun = Prefixes(x, torch.ones(len(x), dtype=torch.long), space, cond=cond)
    drawn = forecast_prefixes(model, begun, batch_size=5056).x
    own = (every[:, 0] == given[0]).all(1)
    share = p[own] / p[own].sum()
    continuations, counts = torch.unique(drawn, dim=0, return_counts=True)
    place = [(every[own] == continuation).flatten(1).all(1).nonzero().item() for continuation in continuations]
    z = (counts / len(x) - share[place]) / (share[place] * (1 - share[place]) / len(x)).sqrt()
    often = share[place] * len(x) > 20
    assert often.sum() >= 6
    assert float(z[often].abs().max()) < 4.5


def test_a_long_horizon_is_the_product_of_windows_that_overlap():
    """Windows of three rows: each further row is drawn given the two before it."""
    model = disturbed("autoregressive", WINDOWS, 0.15)
    every, _ = WINDOWS.support(0, 0)
    p = model.log_prob(every).nats.double().exp()
    x = torch.full((8000, *WINDOWS.shape), ABSENT)
    x[:, :2] = every[5, :2]
    begun = Prefixes(x, torch.full((len(x),), 2), WINDOWS, horizon=2)
    drawn = forecast_prefixes(model, begun, batch_size=8192)
    assert drawn.x.shape == (8000, 4, 2)
    assert drawn.space.length == 4
    followed, counts = torch.unique(drawn.x, dim=0, return_counts=True)

    def conditional(window):
        own = (every[:, :2] == window[:2]).flatten(1).all(1)
        return p[own & (every == window).flatten(1).all(1)].sum() / p[own].sum()

    share = torch.stack([conditional(rows[:3]) * conditional(rows[1:]) for rows in followed])
    assert float(share.sum()) > 0.99
    z = (counts / len(x) - share) / (share * (1 - share) / len(x)).sqrt()
    often = share * len(x) > 20
    assert often.sum() >= 20
    assert float(z[often].abs().max()) < 4.5


@pytest.mark.agreement
def test_the_bound_of_masked_diffusion_is_that_of_all_sets():
    """Enumerated over every set of hidden tokens, it bounds masses that sum to 1, and the estimate agrees with it."""
    model = disturbed("diffusion", TINY)
    assert type(model.estimand).__name__ == "SequenceDenoiser"
    every, _ = TINY.support(0, 0)
    few = every[:: max(len(every) // 12, 1)]
    z, log_mass = model.codec.encode(few)
    tokens = z.shape[1]
    exact = torch.zeros(len(few), dtype=torch.float64)
    with torch.no_grad():
        for n in range(1, tokens + 1):
            sets = list(itertools.combinations(range(tokens), n))
            for hidden_set in sets:
                hidden = torch.zeros(len(few), tokens, dtype=torch.bool)
                hidden[:, list(hidden_set)] = True
                nats = model.estimand(z, ~hidden)
                exact += (nats.double() * hidden).sum(1) / n / len(sets)
    exact += log_mass.double()
    bounds = model.log_prob(few)
    assert ((bounds.nats - exact).abs() < 4.5 * bounds.std_error + 1e-4).all()
    assert float(exact.exp().sum()) < 1


def test_the_network_sees_a_sequence_once_for_each_of_its_values():
    """Tokens behind its end, and marks, are drawn without it."""
    model = disturbed("diffusion", TINY)
    with count_evaluations(model.estimand) as count:
        x = model.sample(64)
    assert len(TINY.row_counts(x).unique()) > 1
    assert count.rows == int(TINY.row_counts(x).sum()) * (model.estimand.layout.slots - 1)


def test_conditionals_of_the_denoiser_are_normalised_and_agree_with_its_nats():
    model = disturbed("diffusion", TINY)
    x = TINY.examples(5, torch.Generator().manual_seed(0))
    z, estimand = model.codec.encode(x)[0], model.estimand
    observed_mask = torch.rand(z.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    for token in range(z.shape[1]):
        log_p = estimand.conditional(z, observed_mask.index_fill(1, torch.tensor([token]), False), token)
        assert torch.allclose(log_p.exp().sum(1), torch.ones(5), atol=1e-5)
        nats = estimand(z, observed_mask.index_fill(1, torch.tensor([token]), False))[:, token]
        assert torch.allclose(log_p.gather(1, z[:, token, None])[:, 0], nats, atol=1e-4)


# --- what is learned --------------------------------------------------------------------------------------------------

P = np.array([[0.8, 0.15, 0.05], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]])
PHI = 0.8


@pytest.fixture(scope="module")
def data():
    """A Markov chain and an AR(1) process for each key, of geometric lengths, at most 10; steps of 0 to 4."""
    rng, rows = np.random.default_rng(0), []
    for key in range(900):
        s, v, t = rng.integers(3), rng.normal(), int(rng.integers(100))
        for _ in range(min(2 + rng.geometric(0.15), 10)):
            rows.append((key, t, "abc"[s], round(v, 2)))
            s, v, t = rng.choice(3, p=P[s]), PHI * v + (1 - PHI**2) ** 0.5 * rng.normal(), t + int(rng.integers(5))
    return load(pd.DataFrame(rows, columns=["key", "t", "state", "v"]), group="key", order="t")


def test_lengths_are_those_of_the_data_before_the_first_step(data):
    model = build("diffusion", data.space, size="xs")
    model.fit_statistics(data.train.x)
    rows = torch.arange(data.space.length)
    with torch.no_grad():
        p = model.estimand._marks(rows < rows[:, None] + 1, None).sum(1).exp()
    share = torch.bincount(data.space.row_counts(data.train.x), minlength=len(rows) + 1)[1:] / len(data.train.x)
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert (p - share).abs().max() < 0.005  # the half cases that are added


@pytest.mark.agreement
@pytest.mark.parametrize(("name", "steps", "near"), [("autoregressive", 240, 0.08), ("diffusion", 160, 0.2)])
def test_chain_autoregression_and_lengths_are_recovered(data, name, steps, near):
    torch.manual_seed(0)
    run = fourfold.fit(name, data, budget=f"{steps} steps", size="xs", precision="float32", choose=False)
    x = run.sample(2048, batch_size=1024)  # statistics of 512 have errors of up to .06 of their own
    data.space.check(x)
    values, truth = data.space.numbers(x), data.space.numbers(data.train.x)
    state = data.space.columns.index("state")
    assert np.abs(transition_matrix(values[..., state], 3).numpy() - P).max() < near + 0.04
    own = autocorrelations(values, data.space.meaning)[1]
    assert (own - PHI ** torch.arange(1, 6)).abs().max() < near
    grid = torch.arange(1, 11)
    cdf = [(lengths(part)[:, None] <= grid).double().mean(0) for part in (values, truth)]
    assert float((cdf[0] - cdf[1]).abs().max()) < near


@pytest.fixture(scope="module")
def walk():
    """Whole numbers ``x_t = round(x_t-1 + 3 e)`` and ``y_t = round(0.8 y_t-1 + 3 e)`` of each key, and their masses."""
    rng, rows, phi = np.random.default_rng(0), 12, np.array([1.0, 0.8])
    x = np.zeros((700, rows, 2), dtype=int)
    x[:, 0] = rng.integers([-200, -20], [201, 21], (700, 2))
    for t in range(1, rows):
        x[:, t] = np.rint(phi * x[:, t - 1] + 3 * rng.normal(size=(700, 2)))
    key, t = (part.ravel() for part in np.indices((700, rows)))
    frame = pd.DataFrame({"key": key, "t": t, "x": x[..., 0].ravel(), "y": x[..., 1].ravel()})
    data = load(frame, group="key", order="t")
    v = data.space.numbers(data.test.x)[..., [data.space.columns.index(name) for name in "xy"]].numpy()
    step = v[:, 1:] - phi * v[:, :-1]
    nats = np.log(norm.cdf((step + 0.5) / 3) - norm.cdf((step - 0.5) / 3)).sum((1, 2)) - np.log(401 * 41)
    return data, nats.mean()


@pytest.mark.agreement
@pytest.mark.parametrize(("name", "near"), [("autoregressive", 0.35), ("diffusion", 0.7)])
def test_a_random_walk_is_known_nearly_exactly_after_few_steps(walk, name, near):
    """Its level has no mean to which the next row returns, so the baseline's normal scores lose more than the model."""
    data, exact = walk
    torch.manual_seed(0)
    run = fourfold.fit(name, data, budget="60 steps", size="xs", precision="float32", choose=False)
    nats = run.log_prob(data.test.x).mean()[0]
    first = FirstOrderRows.fit(data.space, data.train.x).log_prob(data.test.x).mean()[0]
    assert exact - near * 12 < nats < exact + 1
    assert nats > first + 3


def test_the_first_order_baseline_recovers_chain_and_autoregression(data):
    train, test = data.train.x, data.test.x
    fitted, alone = (kind.fit(data.space, train) for kind in (FirstOrderRows, IndependentRows))
    state = data.space.columns.index("state")
    assert np.abs(fitted.matrices[state] - P).max() < 0.04
    v = fitted.quantities.index(data.space.columns.index("v"))
    assert abs(fitted.tie[v, v] - PHI) < 0.04
    values = data.space.numbers(fitted.sample(1500))
    assert (autocorrelations(values, data.space.meaning)[1] - PHI ** torch.arange(1, 6)).abs().max() < 0.08
    assert fitted.log_prob(test).mean()[0] > alone.log_prob(test).mean()[0] + 3


def test_the_metrics_know_an_autoregression():
    rng = np.random.default_rng(0)
    v = np.zeros((400, 60))
    v[:, 0] = rng.normal(size=400)
    for t in range(1, 60):
        v[:, t] = PHI * v[:, t - 1] + (1 - PHI**2) ** 0.5 * rng.normal(size=400)
    x = torch.from_numpy(v)[..., None]
    columns = fourfold.metrics.rows.Columns(("v",), (False,), ("number",))
    assert (autocorrelations(x, columns)[0] - PHI ** torch.arange(1, 6)).abs().max() < 0.03


def test_a_cached_draw_is_scored_as_the_parallel_pass_scores_it():
    """The context that the cache gives row by row is that of the whole sequence at once."""
    model = disturbed("autoregressive", TINY)
    with evaluating(model), torch.no_grad():
        z = model.sampler(model.estimand, Noise(0, 0, 8))
        rows = model.estimand.layout.spread(model.estimand.layout.rows(z))
        whole, cache = model.estimand.net(rows), model.estimand.net.cache(8)
        for t in range(TINY.length):
            step = model.estimand.net(rows[:, max(t - 1, 0), None], cache=cache)[:, 0]
            assert torch.allclose(step, whole[:, t], atol=1e-4)
