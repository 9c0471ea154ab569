"""Codecs of sound against exhaustive oracles: round trips, masses that sum to 1, and what is lost."""

import math
from importlib.util import find_spec

import pytest
import torch

from captions import encode_captions
from fourfold.core import Noise
from fourfold.nn.quantise import FiniteScalars, ResidualScalars
from fourfold.paradigms import build
from fourfold.spaces import Categories, Lines
from fourfold.vocabulary import Kind
from fourfold_speech.codecs import CentredSamples, LogMel, MuLaw
from fourfold_speech.space import Audio
from fourfold_speech.waves import SpectralCritic, WaveDecoder, WaveEncoder

SPACE = Audio(2048, 8000)
EVERY = torch.arange(-32768, 32768).to(torch.int16)


def voices(n=4, length=2048):
    """Harmonic sounds with an envelope."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(length) / 8000
    pitch = 100 + 100 * torch.rand(n, 1, generator=generator)
    wave = sum(torch.sin(2 * math.pi * k * pitch * t) / k for k in range(1, 12))
    return (3000 * wave * torch.sin(math.pi * t / t[-1])).round().to(torch.int16)


def test_samples_are_points_and_come_back_to_the_bit():
    codec = CentredSamples(Audio(65536, 8000))
    z, log_det = codec.encode(EVERY[None])
    assert torch.equal(codec.decode(z), EVERY[None])
    assert float(z.amin()) == -1
    assert float(z.amax()) == 1
    assert log_det.tolist() == [0]


def test_mu_law_is_a_partition_of_all_levels_with_silence_in_the_middle_of_its_cell():
    codec = MuLaw(Audio(65536, 8000), 128)
    k, log_mass = codec.encode(EVERY[None])
    k = k.flatten()
    assert bool((k.diff() >= 0).all())
    assert torch.equal(torch.bincount(k, minlength=256), codec.counts)
    assert codec.counts.sum() == 65536
    assert int(codec.counts.min()) == 5
    assert float(log_mass) == pytest.approx(-float(codec.counts[k].double().log().sum()), rel=1e-6)
    middle = codec.decode(k.view(1, *codec.event))
    assert torch.equal(codec.encode(middle)[0].flatten(), k)
    silence = MuLaw(Audio(128, 8000), 128)
    assert not silence.decode(silence.encode(torch.zeros(1, 128, dtype=torch.int16))[0]).any()


def test_masses_of_levels_under_the_mu_law_sum_to_one_and_draws_fill_their_cell():
    """``P(x) = P(k) / |cell|``: with any masses of tokens, those of all 65,536 levels sum to 1."""
    codec = MuLaw(Audio(1, 8000), 1)
    masses = torch.rand(256, dtype=torch.float64).softmax(0)
    k, log_share = codec.encode(EVERY[:, None])
    assert float((masses[k.flatten()] * log_share.double().exp()).sum()) == pytest.approx(1, abs=1e-6)
    levels = torch.full((4000, 1, 1, 1), 128)
    drawn = codec.decode(levels, Noise(0, 0, 4000))
    assert set(drawn.flatten().tolist()) == set(EVERY[k.flatten() == 128].tolist())


def test_the_mu_law_keeps_most_of_a_quiet_sound():
    """Companding keeps about 38 dB between signal and noise; 256 equal levels would keep 13 dB less here."""
    codec, x = MuLaw(SPACE, 128), voices() // 8
    y = codec.decode(codec.encode(x)[0]).float()
    ratio = 10 * (x.float().square().sum() / (y - x.float()).square().sum()).log10()
    assert float(ratio) > 30
    even = (x.float() / 256).round() * 256
    assert float(ratio) > 10 * (x.float().square().sum() / (even - x.float()).square().sum()).log10() + 10


def test_rows_must_divide_a_clip():
    with pytest.raises(ValueError, match="width must divide"):
        MuLaw(SPACE, 100)


def test_log_mel_is_standard_and_its_vocoder_finds_sounds_with_that_spectrum():
    codec, x = LogMel(SPACE, bands=40), voices(8)
    codec.fit(x)
    z, _ = codec.encode(x)
    assert z.shape == (8, *codec.event) == (8, 1, 40, 16)
    assert float(z.mean()) == pytest.approx(0, abs=1e-3)
    assert float(z.std()) == pytest.approx(1, abs=1e-3)
    again, _ = codec.encode(codec.decode(z))
    loud = z > z.mean()
    error = ((again - z)[loud].square().mean().sqrt() * codec.scale * 10 / math.log(10)).item()
    assert error < 4  # dB, of power in bands that are louder than the mean
    assert torch.equal(codec.decode(z), codec.decode(z))


def test_log_mel_has_no_likelihood_of_waveforms_and_says_why():
    kind, note = LogMel(SPACE).kind_of_raw(Kind.EXACT, "")
    assert kind is Kind.NONE
    assert "phases" in note


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_residual_rounding_is_undone_and_each_number_makes_the_error_smaller(depth):
    quantiser = ResidualScalars((5, 3), depth)
    e = torch.randn(3, 2, 7, 1)
    values, codes, penalty = quantiser(e)
    assert codes.shape == (3, *quantiser.grid((7, 1))) == (3, 7, depth)
    assert int(codes.amax()) < quantiser.size == 15
    assert torch.allclose(quantiser.embed(codes), values, atol=1e-6)
    step = 1 / torch.tensor([2.0, 1.0]) / torch.tensor([4.0, 2.0]) ** (depth - 1)
    error = (values - e.tanh()).abs().amax((0, 2, 3))
    assert bool((error <= step / 2 + 1e-6).all())
    assert not penalty.any()


def test_all_codes_of_a_residual_quantiser_are_reached_and_gradients_pass():
    quantiser = ResidualScalars((3,), 2)
    e = torch.linspace(-4, 4, 2001).reshape(1, 1, -1, 1).requires_grad_()
    values, codes, _ = quantiser(e)
    assert {tuple(pair) for pair in codes[0].tolist()} >= {(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)}
    values.sum().backward()
    assert torch.allclose(e.grad, 1 - e.tanh().square(), atol=1e-5)
    with pytest.raises(ValueError, match="odd and at least 3"):
        ResidualScalars((4, 5))
    assert FiniteScalars((5,)).grid((4, 6)) == (4, 6)


def test_networks_of_waves_have_one_vector_for_each_frame():
    encoder, decoder = WaveEncoder(6, 16, 1, 32), WaveDecoder(6, 2048, 16, 1, 32)
    x = SPACE.waveform(voices(2))[:, None]
    u = encoder(x)
    assert u.shape == (2, 6, 64, 1)
    out = decoder(u)
    assert out.shape == (2, 3, 2048)
    later = x.clone()
    later[..., 1024:] = 0
    near = (encoder(later) - u).detach().abs().amax((0, 1, 3))
    assert float(near[:24].max()) < 1e-6 < float(near[40:].max())  # a frame sees its neighbourhood alone


def test_the_spectral_critic_measures_a_distance_of_sounds():
    critic, x = SpectralCritic(2048, 8, 16), SPACE.waveform(voices(2))[:, None]
    numbers, features = critic(x)
    assert numbers.shape[0] == 2
    assert len(features) >= 4
    shifted = critic(-x)[1]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(features[:3], shifted[:3], strict=True))
    louder = critic(2 * x)[1]
    assert all(float((a - b).mean()) > 0.1 for a, b in zip(louder[:3], features[:3], strict=True))
    silent = torch.zeros_like(x).requires_grad_()
    sum(feature.sum() for feature in critic(silent)[1]).backward()
    assert bool(torch.isfinite(silent.grad).all())


# --- models -----------------------------------------------------------------------------------------------------------

CLIPS = Audio(512, 8000, given=Categories.numbered(3))
TOLD = Audio(512, 8000, given=Lines.of_bytes(9))
NEEDS_CAPTIONS = pytest.mark.skipif(find_spec("fourfold_captions") is None, reason="is of the wing captions")


@pytest.mark.parametrize(
    ("recipe", "space", "kind"),
    [
        ("autoregressive", CLIPS, Kind.EXACT),
        ("autoregressive/likelihood", CLIPS, Kind.EXACT),
        ("latent-autoregressive", CLIPS, Kind.LOWER_BOUND),
        pytest.param("latent-autoregressive/multimodal", TOLD, Kind.LOWER_BOUND, marks=NEEDS_CAPTIONS),
        ("latent-variable/kl", CLIPS, Kind.LOWER_BOUND),
        ("latent-variable/fsq", CLIPS, Kind.LOWER_BOUND),
        ("diffusion", CLIPS, Kind.NONE),
        ("diffusion/velocity", TOLD, Kind.NONE),
        ("adversarial", CLIPS, Kind.NONE),
    ],
)
def test_recipes_of_sound_have_losses_draw_clips_and_tell_their_kind(recipe, space, kind):
    torch.manual_seed(0)
    model, x = build(recipe, space, "xs"), space.examples(4, torch.Generator().manual_seed(0))
    cond = torch.zeros(4, dtype=torch.long) if space is CLIPS else encode_captions(["three"] * 4, 9)
    for term in model.terms().values():
        loss = term(model.encode(x, cond))
        assert loss.shape == (4,)
        assert bool(torch.isfinite(loss).all())
        loss.mean().backward()
    drawn = model.sample(3, "three" if space is TOLD else 1, seed=5)
    space.check(drawn)
    again = model.sample(2, "three" if space is TOLD else 1, seed=5).float()
    assert float((drawn[:2] - again).norm()) <= 0.05 * float(again.norm())  # phases enlarge errors of rounding
    scored = model.log_prob(x, cond)
    assert scored.kind is kind
    assert kind is Kind.NONE or bool((scored.nats < 0).all())


def test_bits_of_a_sample_are_those_of_its_token_and_its_place_in_the_cell():
    """Untrained, every token has the mass 1/256: a level costs 8 bits and the logarithm of its cell's size."""
    torch.manual_seed(0)
    model = build("autoregressive/likelihood", CLIPS, "xs")
    x = torch.randint(-32768, 32768, (8, 512)).to(torch.int16)
    sizes = model.codec.counts[model.codec.table[x.long() + 32768].long()].double()
    expected = 8 + sizes.log2().mean(1)
    assert torch.allclose(model.log_prob(x).in_unit("bits/sample").double(), expected, atol=1e-3)


def test_rows_of_a_prime_length_are_refused():
    with pytest.raises(TypeError, match=r"a multiple of 128 samples for rows, .*; autoregressive/predicted"):
        build("autoregressive/likelihood", Audio(509, 8000), "xs")
