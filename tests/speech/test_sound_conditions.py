"""Sounds as conditions: what may matter does, and padding does not."""

import torch
from torch import nn

from fourfold.core import unknown_like
from fourfold.core.conditions import as_condition
from fourfold.core.parts import configuration, construct
from fourfold.nn.attending import Attending
from fourfold.nn.embedding import ConditionEntry
from fourfold.nn.reading import reading_of
from fourfold.spaces import Vectors
from fourfold_speech.conditions import SoundReading
from fourfold_speech.space import Audio

SPACE = Audio(2000, 8000)


def fitted(n: int = 300) -> tuple[SoundReading, torch.Tensor]:
    torch.manual_seed(0)
    net = construct(configuration(reading_of(Vectors(2, given=SPACE)))).eval()
    cond = as_condition(SPACE.examples(n, torch.Generator().manual_seed(1)))
    net.fit(cond)
    return net, cond


@torch.no_grad()
def test_a_reading_is_of_length_about_one_and_knows_the_unknown():
    net, cond = fitted()
    out = net(cond, len(cond))
    assert isinstance(net, SoundReading)
    assert 0.2 < out.square().sum(1).mean() < 3
    assert len(torch.unique(out, dim=0)) == len(torch.unique(cond, dim=0))
    net.unknown.normal_()
    mixed = torch.cat([cond[:2], SPACE.unknown(1), cond[2:3]])
    torch.testing.assert_close(net(mixed, 4), torch.cat([out[:2], net.unknown[None], out[2:3]]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_reading_offers_a_sequence_and_nothing_where_it_is_unknown():
    net, cond = fitted(6)
    for p in net.parameters():
        p.add_(0.1 * torch.randn_like(p))
    vector, (features, mask) = net.sequence(cond, 6)
    torch.testing.assert_close(vector, net(cond, 6))
    assert features.shape == (*mask.shape, net.states)
    assert mask.any(1).all()
    assert 0.2 < features[mask].square().mean() < 3
    mixed = torch.cat([cond[:1], unknown_like(cond[:1])])
    assert net.sequence(mixed, 2)[1].mask.any(1).tolist() == [True, False]
    assert not net.sequence(None, 2)[1].mask.any()
    layers, entry = Attending(net, 16, 2, 2), ConditionEntry(net, 5)
    for p in nn.ModuleList([layers, entry]).parameters():
        p.add_(0.1 * torch.randn_like(p))
    h = torch.randn(2, 3, 16)
    out = layers(h, 1, layers.read(entry, mixed, 2).memory)
    assert torch.equal(out[1], h[1])
    assert (out[0] - h[0]).abs().max() > 1e-3


@torch.no_grad()
def test_silence_behind_a_sound_counts_for_nothing_and_loudness_does():
    net, cond = fitted(50)
    padded = torch.nn.functional.pad(cond, (0, 1500))
    torch.testing.assert_close(net(padded, 50), net(cond, 50), rtol=1e-4, atol=1e-4)
    louder = net.features((cond // 2).to(torch.int16)) - net.features(cond)
    assert (louder[:, : net.bands].mean(1)[cond.abs().amax(1) > 3000] < 0).all()
