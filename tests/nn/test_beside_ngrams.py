"""A network beside n-grams: against the n-grams alone, against counts that leave one out, and through its cache."""

from __future__ import annotations

import math

import pytest
import torch

from fourfold import Run, build, fit, load
from fourfold.baselines import KneserNey
from fourfold.maths.ngrams import Ngrams
from fourfold.runs.blueprint import check_loadable
from fourfold.spaces import Text

SPACE = Text("ab cd", 12)
IDS = SPACE.ids("abc abd dab cab bad add cad dad a bacca " * 30 + "ddcc bb aa " * 7)
ROWS = SPACE.rows(IDS).long()[:6]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = build("autoregressive/ngrams", SPACE, size="xs")
    built.fit_statistics(IDS)
    return built.eval()


def disturbed(model):
    """The same with another network and power."""
    torch.manual_seed(1)
    net = build("autoregressive/ngrams", SPACE, size="xs")
    net.load_state_dict(model.state_dict())
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return net.eval()


def test_before_training_it_is_as_good_as_the_n_grams(model):
    torch.testing.assert_close(model.log_prob(ROWS).nats.double(), KneserNey.fit(SPACE, IDS).log_prob(ROWS).nats)


def test_in_training_each_token_is_scored_without_its_own_occurrence(model):
    start = torch.full((len(ROWS), 1), SPACE.tokens)
    ids = torch.cat([start, ROWS[:, :-1]], 1)
    following = torch.cat([ROWS[:, :-1], torch.full_like(start, -1)], 1)
    q = Ngrams(IDS, SPACE.tokens, 8).after(ids, following)
    model.train()
    torch.testing.assert_close(model.estimand.net(ids).log_softmax(-1), q.log())
    model.eval()
    assert (model.estimand.net(ids).log_softmax(-1) - q.log()).abs().max() > 0.1


@torch.no_grad()
def test_steps_with_a_cache_are_those_of_one_pass(model):
    net = disturbed(model).estimand.net
    ids = torch.cat([torch.full((len(ROWS), 1), SPACE.tokens), ROWS[:, :-1]], 1)
    whole, cache = net(ids), net.cache(len(ids))
    torch.testing.assert_close(net(ids[:, :5], cache), whole[:, :5])
    net(ids[:, 5:8].flip(1), cache)
    cache.forget(3)
    torch.testing.assert_close(net(ids[:, 5:7], cache), whole[:, 5:7])
    cache.clear()
    assert cache.position == 0
    torch.testing.assert_close(net(ids[:, :1], cache), whole[:, :1])
    single_cache = net.cache(1)
    net(ids[:1, :4], single_cache)
    branches = single_cache.select(torch.tensor([0, 0, 0]))
    text = torch.cat([ids[:1, :4].expand(3, -1), torch.tensor([[0], [1], [2]])], 1)
    torch.testing.assert_close(net(text[:, 4:], branches), net(text)[:, 4:])


def test_masses_sum_to_one_after_a_disturbance(model):
    net = disturbed(model)
    every = torch.cartesian_prod(*[torch.arange(SPACE.tokens)] * 4)
    tail = ROWS[:1, :8].expand(len(every), -1)
    nats = net.estimand(torch.cat([tail, every], 1))[:, 8:].sum(1)
    assert nats.double().exp().sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.agreement
def test_it_learns_what_n_grams_cannot_see_and_keeps_its_text(tmp_path):
    """A line ends with the letter that it began with, farther back than the longest n-gram."""
    letters = torch.randint(2, (1500,), generator=torch.Generator().manual_seed(0)).tolist()
    path = tmp_path / "text.txt"
    path.write_text("".join("ab"[i] + 9 * "-" + "ab"[i] for i in letters))
    data = load(path, length=44)
    run = fit("autoregressive/ngrams", data, budget="60 steps", size="xs", precision="float32", out=tmp_path / "run")
    x = data.space.rows(data.test.x).long()[:40]
    counted = KneserNey.fit(data.space, data.train.x)
    assert (run.log_prob(x).nats - counted.log_prob(x).nats).mean() > math.log(2)  # of four lines three are seen whole
    assert torch.equal(Run.load(tmp_path / "run").log_prob(x).nats, run.log_prob(x).nats)


def test_without_a_text_all_tokens_are_equally_likely():
    nats = build("autoregressive/ngrams", SPACE, size="xs").log_prob(ROWS).nats
    torch.testing.assert_close(nats, torch.full_like(nats, -12 * math.log(SPACE.tokens)))


def test_other_spaces_are_refused():
    from fourfold.spaces import Vectors

    with pytest.raises(TypeError, match="must be Text for this recipe, got Vectors"):
        build("autoregressive/ngrams", Vectors(2), size="xs")


@pytest.mark.parametrize(("observed", "kept"), [(60_000, 61_440), (3_000_000, 3_002_368), (1 << 30, 1 << 22)])
def test_a_run_has_room_for_its_text_and_can_be_loaded(observed, kept):
    large = build("autoregressive/ngrams", Text("ab cd", 12, observed=observed), size="xs")
    assert len(large.estimand.net.text) == kept
    assert not check_loadable(large)
