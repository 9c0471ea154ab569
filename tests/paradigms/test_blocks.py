"""Masked diffusion in blocks: its bound, its draws and its cache, against sums over every order and every text."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch

from fourfold import build, fit
from fourfold.codecs import TextTokens
from fourfold.core import Batch, GenerativeModel, Noise
from fourfold.nn.orders import OrderedTransformer
from fourfold.paradigms.blocks import BlockBound, BlockDenoiser, BlockDenoising, BlockUnmasking
from fourfold.spaces import Text, Vectors
from fourfold.tasks.language import fill, generate

V, L = 3, 4
SPACE = Text("abc", L)
EVERY = torch.tensor(list(itertools.product(range(V), repeat=L)))


def block_model(block, lean=1.0):
    """A model of blocks with random weights."""
    torch.manual_seed(0)
    net = OrderedTransformer(V, L, block, 16, 2, 2)
    for parameter in net.parameters():
        parameter.data += 0.4 * torch.randn_like(parameter)
    return of(net, lean)


def of(net, lean=1.0):
    parts = (BlockDenoiser(net, L, lean), BlockDenoising(), BlockUnmasking(), BlockBound())
    return GenerativeModel(SPACE, TextTokens(SPACE), *parts).eval()


def orders(block):
    """Every order of the places: blocks one after the other."""
    blocks = [range(L)[i : i + block] for i in range(0, L, block)]
    return [sum(parts, ()) for parts in itertools.product(*map(itertools.permutations, blocks))]


@torch.no_grad()
def masses_by_sum(model, x, seen, token):
    """``log p`` of every token at a place, ``(B, V)``, given those at the places seen, in their order, in one pass."""
    at = torch.tensor([0, *(i + 1 for i in seen)]).expand(len(x), -1)
    ids = torch.cat([torch.full((len(x), 1), V), x[:, list(seen)]], 1)
    asked = torch.cat([at[:, 1:], torch.full_like(at[:, :1], token + 1)], 1)
    tokens_by_place = {-1: torch.full((len(x),), V)}  # the symbol before the first token
    sides = []
    for i in (*seen, token):
        sides.append(torch.stack([tokens_by_place.get(j, torch.full((len(x),), V + 1)) for j in (i - 1, i + 1)]))
        tokens_by_place[i] = x[:, i]
    return model.estimand.net(ids, at, asked, torch.stack(sides, 2))[:, -1].double().log_softmax(-1)


def by_order(model, order, x):
    """``log p(x)`` in one order, ``(B,)``."""
    parts = [masses_by_sum(model, x, order[:k], i).gather(1, x[:, i : i + 1]) for k, i in enumerate(order)]
    return torch.cat(parts, 1).sum(1)


def drawn_shares(x):
    return torch.bincount((x * V ** torch.arange(L - 1, -1, -1)).sum(1), minlength=V**L) / len(x)


def close(seen, p, n):
    assert (seen - p).abs().max() < 5 * (0.25 / n) ** 0.5


def test_blocks_of_one_token_are_an_autoregressive_model():
    torch.manual_seed(0)
    left_to_right = build("autoregressive", SPACE, size="xs").eval()
    theirs = left_to_right.estimand.net
    for parameter in theirs.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    net = OrderedTransformer(V, L, 1, 64, 2, 1)
    added = {"way.weight", "left.weight", "right.weight"}
    for name in added:
        net.get_parameter(name).data.zero_()
    report = net.load_state_dict({k.removeprefix("trunk."): v for k, v in theirs.state_dict().items()}, strict=False)
    assert set(report.missing_keys) == added
    assert not report.unexpected_keys
    scores, exact = of(net).log_prob(EVERY), left_to_right.log_prob(EVERY)
    torch.testing.assert_close(scores.nats, exact.nats, rtol=0, atol=1e-5)
    assert scores.std_error.max() < 1e-5
    assert scores.nats.double().exp().sum() == pytest.approx(1, abs=1e-5)


def test_one_block_has_the_bound_of_masked_diffusion():
    """``E_n E_S [L / n · sum_{i not in S} log p(x_i | x_S)]``, its known tokens read in a random order."""
    model, x = block_model(L), EVERY[::7]
    total = torch.zeros(len(x), dtype=torch.float64)
    for n in range(1, L + 1):
        seen = list(itertools.permutations(range(L), L - n))
        for S in seen:
            hidden = [masses_by_sum(model, x, S, i).gather(1, x[:, i : i + 1]) for i in range(L) if i not in S]
            total += torch.cat(hidden, 1).sum(1) / (n * len(seen))
    scored = model.with_parts(likelihood=BlockBound(150)).log_prob(x)
    assert ((scored.nats - total).abs() < 5 * scored.std_error.double()).all()
    assert scored.kind == "lower_bound"


@pytest.mark.parametrize("block", [2, 3])
def test_the_bound_is_the_mean_over_orders_and_below_the_mass(block):
    model = block_model(block)
    each = torch.stack([by_order(model, order, EVERY) for order in orders(block)])
    scored = model.with_parts(likelihood=BlockBound(100)).log_prob(EVERY)
    assert ((scored.nats - each.mean(0)).abs() < 5 * scored.std_error.double()).all()
    exact = each.exp().mean(0).log()
    assert exact.exp().sum() == pytest.approx(1, abs=1e-6)
    assert (each.mean(0) < exact).all()
    estimand, u = model.estimand, torch.rand(len(EVERY), L)
    order = estimand.order(u)
    assert {tuple(row) for row in order.tolist()} == set(orders(block))
    expected = torch.stack([each[orders(block).index(tuple(row)), i] for i, row in enumerate(order.tolist())])
    torch.testing.assert_close(estimand(EVERY, order).double().sum(1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [2, 3])
def test_samples_are_of_the_mixture_over_orders(block):
    model, n = block_model(block), 10_000
    p = torch.stack([by_order(model, order, EVERY).exp() for order in orders(block)]).mean(0)
    with torch.no_grad():
        close(drawn_shares(BlockUnmasking()(model.estimand, Noise(1, 0, n))), p, n)


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("given", [(), (0, 1, 2), (1,), (0, 3), (2,)])
def test_cached_draws_are_those_without_a_cache(steps, given):
    model, n, block = block_model(3), 40, 3
    observed_mask = torch.tensor([i in given for i in range(L)])
    x = torch.randint(0, V, (n, L), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        samples = model.estimand.complete(x, observed_mask, Noise(5, 0, n), steps)
    noise = Noise(5, 0, n)
    order, u, expected = model.estimand.order(noise.uniform(L), observed_mask), noise.uniform(L), x.clone()
    for row in range(n):
        for start in range(0, L, block):
            places = order[row, start : start + block].tolist()
            hidden = [i for i in places if i not in given]
            seen = order[row, :start].tolist() + [i for i in places if i in given]
            size = len(hidden)
            for k in range(parts := min(steps or size, size)):
                wanted = hidden[size * k // parts : size * (k + 1) // parts]
                for i in wanted:
                    p = masses_by_sum(model, expected[row : row + 1], seen, i)[0].exp()
                    expected[row, i] = int((p.cumsum(0) <= u[row, i]).sum())
                seen += wanted
    assert (samples == expected).all()
    assert (samples[:, observed_mask] == x[:, observed_mask]).all()


def luce(order, block, lean):
    """The probability of an order: each next token of a block is chosen by its weight ``lean^-k`` among them."""
    p = 1.0
    for start in range(0, L, block):
        weights = [lean ** -(i - start) for i in order[start : start + block]]
        for k, weight in enumerate(weights):
            p *= weight / sum(weights[k:])
    return p


@pytest.mark.parametrize(("block", "lean"), [(4, 1.0), (4, 2.0), (3, 4.0)])
def test_earlier_tokens_are_found_first_as_often_as_they_weigh(block, lean):
    model, n = block_model(block, lean), 20_000
    expected = {order: luce(order, block, lean) for order in orders(block)}
    assert sum(expected.values()) == pytest.approx(1)
    counts = Counter(map(tuple, model.estimand.order(Noise(3, 0, n).uniform(L)).tolist()))
    assert set(counts) == set(expected)
    assert all(abs(counts[o] / n - p) < 5 * (p * (1 - p) / n) ** 0.5 for o, p in expected.items())
    each = torch.stack([p * by_order(model, order, EVERY) for order, p in expected.items()])
    scored = model.with_parts(likelihood=BlockBound(150)).log_prob(EVERY)
    assert ((scored.nats - each.sum(0)).abs() < 5 * scored.std_error.double()).all()
    with pytest.raises(ValueError, match="lean must be at least 1"):
        BlockDenoiser(model.estimand.net, L, 0.5)


def test_known_tokens_of_a_block_are_seen():
    model, n = block_model(2), 10_000
    x, observed_mask = torch.tensor([[2, 0, 1, 1]]).expand(n, -1), torch.tensor([True, True, False, True])
    with torch.no_grad():
        samples = model.estimand.complete(x, observed_mask, Noise(2, 0, n))
    p = torch.stack([masses_by_sum(model, x[:1], (*first, 3), 2)[0].exp() for first in ((0, 1), (1, 0))]).mean(0)
    close(torch.bincount(samples[:, 2], minlength=V) / n, p, n)


def test_training_finds_the_order_of_letters_and_goes_on_with_a_prompt(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("abc" * 2000)
    options = {"length": 12}
    run = fit("diffusion/blocks", path, size="xs", budget="40 steps", precision="float32", data_options=options)
    x = run.model.space.rows(run.dataset().test.x.long())
    assert run.log_prob(x).nats_per_token.mean() < 0.4  # the first letter alone costs log 3 / 12 = 0.09
    texts = generate(run.model, "bcabc", n=8, length=4, seed=1)
    assert sum(text == "abca" for text in texts) >= 6
    assert generate(run.model, "bcabc", n=8, length=4, seed=1) == texts
    assert generate(run.model, "bcabc", n=2, length=4, seed=1) == texts[:2]
    with pytest.raises(ValueError, match="fewer tokens than a window of 12"):
        generate(run.model, "abc" * 4)
    with pytest.raises(TypeError, match="masked diffusion of text to fill gaps"):
        fill(run.model, "a{2}c")


def test_fewer_steps_are_said_to_be_an_approximation():
    assert BlockUnmasking().faithful
    assert not BlockUnmasking(2).faithful
    assert "in 2 steps" in BlockUnmasking(2).summary
    with pytest.raises(ValueError, match="steps must be at least 1"):
        BlockUnmasking(-1)
    with pytest.raises(ValueError, match="draws must be at least 2"):
        BlockBound(1)
    with pytest.raises(TypeError, match="use diffusion/masked"):
        build("diffusion/blocks", Vectors(2))
    with pytest.raises(ValueError, match=r"multiple of 2 · heads"):
        OrderedTransformer(V, L, 2, 18, 1, 6)


def test_the_loss_is_that_of_random_orders():
    model = block_model(2)
    term = BlockDenoising().terms(model.estimand)["masked"]
    each = -torch.stack([by_order(model, order, EVERY) for order in orders(2)], 1) / L
    torch.manual_seed(0)
    with torch.no_grad():
        losses = term(Batch(EVERY))
    error, which = (each - losses[:, None]).abs().min(1)
    assert error.max() < 1e-5
    assert set(which.tolist()) == {0, 1, 2, 3}
