"""Vocoders: the head against transforms of known signals, the losses against the codec's, a stage in a run."""

import math

import pytest
import torch
from torch import nn

from fourfold import checks
from fourfold.codecs import LearnedCodec
from fourfold.core import Batch, Part
from fourfold.data import load
from fourfold.engine import Run, fit
from fourfold.paradigms import build
from fourfold.paradigms.adversarial import Hinge, Pairing
from fourfold.spaces import Vectors
from fourfold.vocabulary import Kind
from fourfold_speech.codecs import LogMel, VocodedMel, Waveforms
from fourfold_speech.space import Audio
from fourfold_speech.spectra import from_magnitude, from_mel, stft
from fourfold_speech.vocoder import Vocoder, Vocoding
from fourfold_speech.waves import SPREAD, WaveCritic, WaveVocoder

SPACE = Audio(1500, 8000)


def voices(n=4, length=1500):
    """Sums of harmonics with a slow envelope, int16."""
    t = torch.arange(length) / 8000
    pitch = torch.linspace(100, 220, n)[:, None]
    x = sum(torch.sin(2 * math.pi * k * pitch * t + k) / k for k in range(1, 9))
    return (8000 * x * torch.sin(math.pi * torch.arange(length) / length)).round().to(torch.int16)


def built_vocoder(space=SPACE):
    torch.manual_seed(0)
    return build("latent-diffusion/vocoder", space, "xs").codec


class Given(nn.Module):
    """A layer that answers with what it was given."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, h):
        return self.out


class Copy(Part, nn.Module):
    """A network that answers with one batch of waveforms, whatever it is asked."""

    def __init__(self):
        super().__init__()
        self.x = None

    def forward(self, z, cond=None):
        return self.x


@pytest.mark.parametrize("gain", [0.0, 0.7])
def test_the_head_gives_a_known_signal_back_from_its_transform(gain):
    """With ``b = X / M - exp(a) X' / |X'|`` the corrected spectrum is that of the signal, and so is the waveform."""
    hop, x = 128, SPACE.waveform(voices())
    net = WaveVocoder(64, 8000, hop, 16, 1)
    z = Vocoder(net, 1500, 64, 8000).analyse(x[:, None])
    magnitude, wave = net._initial(z)
    b = stft(x, 512, hop) / magnitude - math.exp(gain) * wave / wave.abs().clamp(min=1e-12)
    net.exit = Given(torch.cat([torch.full_like(magnitude, gain), b.real, b.imag], 1))
    assert torch.allclose(net(z)[:, 0, :1500], x, atol=2e-5)


def test_an_untrained_vocoder_is_as_good_as_the_iterations_that_it_begins_with():
    codec, x = built_vocoder(), voices()
    codec.fit(x)
    z, _ = codec.encode(x)
    mel = codec.mel
    wave = from_magnitude(from_mel(mel.log_power(z), 512, 8000), 128, 12 * 128, 16)
    decoded = [SPACE.waveform(codec.decode(z)), wave[:, :1500]]
    error = [(mel.encode(SPACE.quantise(y))[0] - z).square().mean() for y in decoded]
    assert float(error[0]) < 1.5 * float(error[1])


def test_codes_and_the_distance_in_mel_bands_are_those_of_the_codec():
    codec, x = built_vocoder(), voices()
    codec.fit(x)
    vocoder = codec.vocoder.estimand
    z, _ = codec.encode(x)
    assert torch.equal(z, codec.mel.encode(x)[0])
    waves = codec.vocoder.codec.encode(x)[0]
    assert torch.allclose(vocoder.analyse(waves), vocoder.standard(codec.mel.log_power(z)), atol=1e-5)
    net = Copy()
    other = voices(4).flip(0)
    net.x = nn.functional.pad(SPACE.waveform(other)[:, None], (0, 36))
    game = Vocoding(WaveCritic(1536, 4, 128), frames=12)
    term = game.terms(Vocoder(net, 1536, 64, 8000))["generator"]
    term(Batch(waves))
    wanted = codec.mel.scale * (codec.mel.encode(other)[0] - z).abs().mean()
    assert float(term.watched["mel"]) == pytest.approx(float(wanted), rel=1e-3)


def test_a_vocoder_that_returns_the_clip_has_no_distances_and_the_game_is_the_contest():
    x, net = SPACE.waveform(voices(4, 1536))[:, None], Copy()
    net.x = x
    game = Vocoding(WaveCritic(1536, 4, 128), frames=12)
    terms = game.terms(Vocoder(net, 1536, 64, 8000))
    numbers = [score.flatten(1) for score, _ in game.critic(x)]
    assert len(numbers) == 8  # five periods, three resolutions
    real = torch.stack([Hinge().critic(score, score).mean(1) for score in numbers]).mean(0)
    assert torch.allclose(terms["critic"](Batch(x)), real, atol=1e-5)
    fooled = -torch.stack([score.mean(1) for score in numbers]).mean(0)
    assert torch.allclose(terms["generator"](Batch(x)), fooled, atol=1e-5)
    assert {name: float(value) for name, value in terms["generator"].watched.items()} == {
        "mel": 0,
        "spectrum": 0,
        "feature": 0,
    }


def test_a_critic_of_a_period_sees_each_series_alone():
    critic = WaveCritic(1536, 4, 128, periods=(3,)).periods[0]
    x = torch.randn(1, 1, 1536)
    changed = x.clone()
    changed[..., 1::3] += 1
    numbers = [critic(clip)[0].reshape(3, -1) for clip in (x, changed)]
    assert [torch.equal(a, b) for a, b in zip(*numbers, strict=True)] == [True, False, True]


def test_pieces_are_whole_frames_of_each_clip_at_every_place():
    game = Vocoding(WaveCritic(512, 4, 128), frames=4)
    x = torch.arange(1500.0).expand(200, 1, -1)
    pieces = game.segment(x, 128)
    assert pieces.shape == (200, 1, 512)
    first = pieces[:, 0, 0]
    assert set((first / 128).tolist()) == set(range(9))
    inside = pieces[first < 988][:, 0]
    assert torch.equal(inside, inside[:, :1] + torch.arange(512.0))
    assert game.segment(x[..., :300], 128).shape == (200, 1, 384)


def test_waveforms_are_undone_and_keep_silence():
    codec = Waveforms(Audio(65536, 8000))
    every = torch.arange(-32768, 32768).to(torch.int16)[None]
    assert torch.equal(codec.decode(codec.encode(every)[0]), every)
    assert not codec.encode(torch.zeros(1, 65536, dtype=torch.int16))[0].any()


def test_silence_stays_silent():
    codec = built_vocoder()
    codec.fit(voices())
    z, _ = codec.encode(torch.zeros(2, 1500, dtype=torch.int16))
    assert not codec.decode(z).any()
    assert not codec.mel.decode(z).any()


def test_parts_that_do_not_fit_are_refused():
    codec = built_vocoder()
    with pytest.raises(ValueError, match=r"vocoder of \(64, 12\) bands and frames cannot decode \(40, 12\)"):
        VocodedMel(LogMel(SPACE, bands=40), codec.vocoder)
    with pytest.raises(TypeError, match="vocoder must be a model of Vocoder and Vocoding"):
        VocodedMel(LogMel(SPACE), build("latent-variable/kl", SPACE, "xs"))
    with pytest.raises(TypeError, match="codec must be an objective with an encoder"):
        LearnedCodec(codec.vocoder)
    with pytest.raises(ValueError, match="contest must rate each example alone, got Pairing"):
        Vocoding(WaveCritic(512, 4, 128), Pairing())
    with pytest.raises(TypeError, match="must be Audio for this recipe, got Vectors; use"):
        build("latent-diffusion/vocoder", Vectors(2), "xs")


@pytest.mark.parametrize("check", ["loss", "gradients", "saved", "resume"])
def test_a_vocoder_is_trained_as_every_model_is(check):
    """And resumed to the bit; the model that holds it is checked with all recipes."""
    checks.MODEL_CHECKS[check](built_vocoder(Audio(512, 8000)).vocoder)


def test_training_brings_bands_nearer_than_the_iterations():
    vocoder, x = built_vocoder().vocoder, voices(20)
    waves = vocoder.codec.encode(x)[0]

    def error():
        with torch.no_grad():
            z = vocoder.estimand.analyse(waves)
            return SPREAD * float((vocoder.estimand.analyse(vocoder.estimand(z)) - z).abs().mean())

    before = error()
    fit(vocoder, load(x, space=SPACE), budget="8 steps", batch_size=4, choose=False, precision="float32")
    assert error() < 0.97 * before


def test_a_run_holds_its_vocoder_and_decodes_by_iteration_too(tmp_path):
    run = fit(
        build("latent-diffusion/vocoder", SPACE, "xs"),
        load(voices(24), space=SPACE),
        budget="5 steps",
        out=tmp_path,
    )
    assert [stage["name"] for stage in run.card["stages"]] == ["vocoder", "model"]
    opened = Run.load(tmp_path)
    drawn = opened.sample(2, seed=3)
    assert torch.equal(drawn, run.sample(2, seed=3))
    iterated = opened.sample(2, seed=3, sampler="griffin-lim")
    assert iterated.shape == drawn.shape
    assert not torch.equal(iterated, drawn)
    assert opened.log_prob(voices(2)).kind is Kind.NONE
    assert "then map its power in mel bands to a waveform" in opened.model.facts.sampling
