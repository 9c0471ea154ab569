"""Attention to the sequence of a condition: against sums by hand, drawn as it is scored, and learning to reverse."""

import math

import pytest
import torch
from torch import Tensor, nn

from every_space import ROWS
from fourfold.core import Noise, Reading, States, unknown_like
from fourfold.nn.attending import Attending, CrossAttention
from fourfold.nn.dit import DiT
from fourfold.nn.entry import ConditionEntry
from fourfold.nn.reading import reading
from fourfold.nn.reading.texts import TextReading
from fourfold.nn.text_encoder import ByteEncoder
from fourfold.nn.transformer import MaskedTransformer, TokenTransformer
from fourfold.paradigms import build
from fourfold.paradigms.autoregressive import LineConditionals
from fourfold.spaces import Categories, Images, Lines, Text, Together, Vectors

TEXTS = Lines(Text("abcd", 7))
GIVENS = [TEXTS, ROWS, Images(1, 8, 8), Together((TEXTS, Vectors(2), ROWS))]


def shaken(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in module.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    return module.eval()


def drawn(space, n: int) -> Tensor:
    return space.conditions(space.examples(n, torch.Generator().manual_seed(0)), n)


@torch.no_grad()
def test_attention_is_the_weighted_sum_over_the_states_that_are_there():
    layer, width, heads = shaken(CrossAttention(8, 2, 5)), 8, 2
    h, states = torch.randn(3, 4, 8), States(torch.randn(3, 6, 5), torch.rand(3, 6) < 0.6)
    states.mask[:, 0] = True
    out = layer(h, layer.keys(states), states.mask[:, None, None])
    q = nn.functional.layer_norm(h, (8,)) @ layer.query.T
    k, v = (states.features @ layer.key_value.T).split(width, 2)
    for b in range(3):
        for i in range(4):
            mixed = []
            for part in torch.arange(width).split(width // heads):
                score = torch.stack([q[b, i, part] @ k[b, t, part] for t in range(6)]) / math.sqrt(width // heads)
                weight = torch.where(states.mask[b], score.exp(), 0.0)
                mixed.append((weight / weight.sum()) @ v[b][:, part])
            torch.testing.assert_close(out[b, i], h[b, i] + layer.out @ torch.cat(mixed), rtol=1e-4, atol=1e-5)
    assert torch.equal(CrossAttention(8, 2)(h, layer.keys(states), states.mask[:, None, None]), h)


@pytest.mark.parametrize("given", GIVENS, ids=lambda space: type(space).__name__)
@torch.no_grad()
def test_a_reading_offers_a_sequence_and_nothing_where_it_is_unknown(given):
    net, cond = reading(given, attends=True), drawn(given, 7)[1:]  # the first text is empty
    net.fit(cond)
    vector, (features, mask) = shaken(net).sequence(cond, 6)
    torch.testing.assert_close(vector, net(cond, 6))
    assert features.shape == (*mask.shape, net.states)
    assert mask.any(1).all()
    assert 0.2 < features[mask].square().mean() * max(sum(part.dims > 2 for part in given.parts), 1) < 3
    _, alone = net.sequence(cond[:1], 1)
    torch.testing.assert_close(features[0][mask[0]], alone.features[0][alone.mask[0]], rtol=1e-3, atol=1e-4)
    mixed = torch.cat([cond[:1], unknown_like(cond[:1])])
    assert net.sequence(mixed, 2)[1].mask.any(1).tolist() == [True, False]
    assert not net.sequence(None, 2)[1].mask.any()
    torch.testing.assert_close(net.sequence(mixed, 2)[0], net(mixed, 2))
    torch.testing.assert_close(net.sequence(None, 2)[0], net(None, 2))
    layers, entry = Attending(net, 16, 2, 2), ConditionEntry(net, 5)
    h = torch.randn(2, 3, 16)
    shaken(layers)
    shares = layers.read(entry, mixed, 2)
    torch.testing.assert_close(shares.vector, entry(mixed, 2))
    out = layers(h, 1, shares.memory)
    assert torch.equal(out[1], h[1])
    assert (out[0] - h[0]).abs().max() > 1e-3
    assert not len(Attending(reading(Categories.numbered(2)), 16, 2, 2).layers)


@torch.no_grad()
def test_steps_copies_and_branches_of_a_cache_attend_as_the_whole_does():
    net, cond = shaken(TokenTransformer(4, 8, 16, 2, 2, reading=reading(TEXTS, attends=True))), drawn(TEXTS, 3)
    ids = torch.randint(4, (3, 6))
    whole, cache = net(ids, None, cond), net.cache(3, cond)
    steps = [net(ids[:, :2], cache), net(ids[:, 2:3], cache)]
    rows = torch.tensor([2, 0])
    copy = cache.copy(rows)
    torch.testing.assert_close(net(ids[rows, 3:4], copy), whole[rows, 3:4])
    steps += [net(ids[:, i : i + 1], cache) for i in range(3, 6)]
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    first_cache = net.cache(1, cond[:1])
    net(ids[:1, :3], first_cache)
    branches = first_cache.select(torch.zeros(2))
    torch.testing.assert_close(net(ids[:1, 3:4].repeat(2, 1), branches), whole[:1, 3:4].repeat(2, 1, 1))
    assert (net(ids, None, cond.roll(1, 0)) - whole).abs().amax((1, 2)).min() > 1e-3


@pytest.mark.parametrize("name", ["autoregressive", "diffusion"])
@torch.no_grad()
def test_sequences_of_rows_draw_what_they_score(name):
    """Each logit of a drawing is that of the score, where both attend to a text."""
    space = ROWS.conditioned_on(TEXTS)
    model = build(name, space, "xs")
    x, cond = drawn(ROWS, 4), drawn(TEXTS, 4)
    model.fit_statistics(x, cond)
    shaken(model)
    other = model.log_prob(x, cond.roll(1, 0)).nats
    nats = model.log_prob(x, cond).nats
    assert (nats - other).abs().min() > 1e-3
    if name == "autoregressive":
        z, estimand = model.codec.encode(x)[0], model.estimand
        state, parts = estimand.begin(4, cond), []
        for token in z.unbind(1):
            parts.append(estimand.logits(state).log_softmax(1).gather(1, token[:, None])[:, 0])
            estimand.take(state, token)
        total = torch.stack(parts, 1).sum(1)
        torch.testing.assert_close(total, estimand(z, cond).sum(1), rtol=1e-4, atol=1e-3)
    draws = model.sampler(model.estimand, Noise(0, 0, 4), cond)
    again = model.sampler(model.estimand, Noise(0, 0, 2), cond[:2])
    assert torch.equal(draws[:2], again)


class Pooled(Reading):
    """A reading as a vector alone."""

    def __init__(self, inner: Reading) -> None:
        super().__init__(inner.width)
        self.inner = inner

    def features(self, cond: Tensor) -> Tensor:
        return self.inner.features(cond)


def reversal(attends: bool, steps: int) -> float:
    """Nats of texts given the same texts from behind, after some steps of training. Chance is ``-5 log 6`` or -9."""
    torch.manual_seed(0)
    L, V, net = 5, 6, TextReading(ByteEncoder(6, 32, 1, 2, 6), 6)
    model = LineConditionals(TokenTransformer(7, 6, 32, 1, 2, reading=net if attends else Pooled(net)), L + 1, V)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        cond = nn.functional.pad(torch.randint(V, (n, L)), (0, 1), value=V)
        return nn.functional.pad(cond[:, :L].flip(1), (0, 1), value=V), cond

    for step in range(steps):
        loss = -model(*draw(96)).sum(1).mean()
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return float(model(*draw(500)).sum(1).mean())


def test_attention_reverses_a_text_that_a_vector_does_not_hold():
    assert reversal(True, 100) > -0.2
    assert reversal(False, 50) < -4


@torch.no_grad()
def test_masked_tokens_attend_too():
    net, cond = shaken(MaskedTransformer(4, 16, 2, 2, reading=reading(TEXTS, attends=True))), drawn(TEXTS, 3)
    ids = torch.randint(5, (3, 6))
    out = net(ids, cond)
    swapped = cond.clone()
    swapped[:, :2] = cond[:, :2].flip(1)
    moved = (swapped != cond).any(1)
    assert ((net(ids, swapped) - out).abs().amax((1, 2)) > 1e-4)[moved].all()


def test_a_reading_that_claims_a_sequence_and_has_none_is_told_what_to_define():
    net = Pooled(reading(TEXTS, attends=True))
    net.states = 8
    with pytest.raises(NotImplementedError, match=r"Pooled must define steps.* 8"):
        net.sequence(drawn(TEXTS, 2), 2)


@torch.no_grad()
def test_patches_of_images_attend_to_a_text_and_to_nothing_where_it_is_unknown():
    net, cond = shaken(DiT((1, 8, 8), 16, 2, 2, 4, reading(TEXTS))), drawn(TEXTS, 4)[1:]
    cond[2] = unknown_like(cond[:1])[0]
    x, tau = torch.randn(3, 1, 8, 8), torch.rand(3)
    out = net(x, tau, cond)
    torch.testing.assert_close(net(x[:1], tau[:1], cond[:1]), out[:1], rtol=1e-3, atol=1e-4)
    for layer in net.attending.layers:
        layer.out.zero_()
    alone = net(x, tau, cond)
    assert (out[:2] - alone[:2]).abs().amax((1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(out[2], alone[2])
    assert not len(DiT((1, 8, 8), 16, 2, 2, 4, reading(Images(1, 8, 8))).attending.layers)
