"""Presets of models of sounds, and of transcripts given sound, in sizes xs, s and m."""

from __future__ import annotations

from functools import partial

from fourfold.baselines import Baseline, baselines_of
from fourfold.codecs import LineTokens
from fourfold.core import GenerativeModel, Training
from fourfold.distributions.observations import LogisticHead
from fourfold.likelihoods import NoDensity
from fourfold.nn.causal import CausalConvNet
from fourfold.nn.quantise import ResidualScalars
from fourfold.nn.reading import reading, reading_of
from fourfold.nn.resnet import ResNetCritic, ResNetDecoder
from fourfold.paradigms.adversarial import NO_DENSITY, Generator, OnePass
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood
from fourfold.paradigms.hybrid import behind
from fourfold.paradigms.pixels import PixelConditionals
from fourfold.recipes.adversarial import IMAGE_NOISE, IMAGES, TRAINING, Players, players
from fourfold.recipes.autoregressive import default, likelihood, texts
from fourfold.recipes.by_space import by_space
from fourfold.recipes.diffusion import UNET, Parts, denoising, parts
from fourfold.recipes.latent import CRITIC, Autoencoder, autoencoder, fsq, quantised
from fourfold.recipes.latent_autoregressive import codes_of
from fourfold.recipes.latent_diffusion import dit, transformer, unet
from fourfold.recipes.networks import map_unet
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Lines
from fourfold.vocabulary import parse_size
from fourfold_speech.baselines import PredictedSamples
from fourfold_speech.codecs import CentredSamples, LogMel, MuLaw, VocodedMel, Waveforms
from fourfold_speech.conditions import SoundReading
from fourfold_speech.networks import SpeechTransformer
from fourfold_speech.paradigm import JointLikelihood, TranscriptConditionals
from fourfold_speech.samples import Correction, SampleConditionals, SampleLikelihood
from fourfold_speech.space import Audio
from fourfold_speech.spectra import frames, hop_of
from fourfold_speech.vocoder import Vocoder, Vocoding
from fourfold_speech.waves import SpectralCritic, WaveCritic, WaveDecoder, WaveEncoder, WaveVocoder

__all__ = ["predicted", "transcripts", "vocoder"]

NO_PHASES = "power in mel bands has lost the phases, so it gives waveforms no density"
"""The reason why a density of mel bands is none of waveforms."""
ROWS: Sizes[tuple[Size, Size]] = Sizes(
    {"xs": (Size(32, 3), Size(32, 1)), "s": (Size(64, 6), Size(48, 3)), "m": (Size(96, 8), Size(64, 4))}
)
"""Layers of all samples before, and layers of the rows above."""
ROW = 128
"""The most samples in a row of a clip."""
CORRECTION: Sizes[tuple[Size, int]] = Sizes({"xs": (Size(8, 1), 24), "s": (Size(32, 2), 64), "m": (Size(96, 4), 96)})
"""The network that corrects predictions, and features that narrower ones have more: predictions take time, too."""
WAVES: Sizes[Size] = Sizes({"xs": Size(32, 1), "s": Size(192, 4), "m": Size(320, 6)})
"""The size of encoder and decoder of sounds."""
FRAME_LEVELS: Sizes[tuple[int, ...]] = Sizes({"xs": (3, 3), "s": (5, 5, 5, 5), "m": (5, 5, 5, 5)})
"""Levels of each number of a frame of sound."""
VOCODING = Training(16, 1e-3, muon_rate=0.01, warmup=0.05, betas=(0.8, 0.99), clip=1.0)
SEGMENT = 32
"""Frames of the segments on which a vocoder is trained."""
SIZES: Sizes[tuple[Size, int]] = Sizes(
    {"xs": (Size(64, 3, 2), 1), "s": (Size(144, 5, 4), 2), "m": (Size(256, 8, 4), 3)}
)
"""The encoder, and the layers of the decoder."""


# --- sounds -----------------------------------------------------------------------------------------------------------


@reading.register
def spectrum(given: Audio, attends: bool = False) -> SoundReading:
    """How networks read sounds as conditions."""
    return SoundReading(given.rate)


@baselines_of.register
def predictions(space: Audio) -> tuple[type[Baseline], ...]:
    """The models in closed form of clips of sound."""
    return (PredictedSamples,)


@parts.register
def of_bands(space: Audio, size: str, times: int = 1) -> Parts:
    """Clips of sound are modelled as their power in mel bands over time, as if that were an image."""
    # with Muon's rate for images, clips at rare noise levels reach losses of 1e17 after some hundred steps
    codec, training = LogMel(space), Training(32, 1e-3, muon_rate=0.01)
    return Parts(map_unet(space, codec.event, UNET[size], times), codec, NoDensity(NO_PHASES), training)


@likelihood.register
def samples(space: Audio, size: str) -> GenerativeModel:
    """Samples on the mu-law, one after the other, in rows as if they were the pixels of an image."""
    width = max(n for n in range(1, ROW + 1) if space.length % n == 0)
    if width < ROW // 8:
        raise TypeError(
            f"length must be a multiple of {ROW} samples for rows, got {space.length:,}; autoregressive/predicted "
            "takes any length"
        )
    codec, (lower, upper) = MuLaw(space, width), ROWS[size]
    _, rows, _ = codec.event
    sizes = (lower.width, lower.width, lower.depth, upper.width, upper.depth)
    net = CausalConvNet(codec.tokens, rows, width, *sizes, planes=0, reading=reading_of(space))
    training = Training(batch_size=16, learning_rate=2e-3, muon_rate=2e-2)
    parts = codec, PixelConditionals(net, 1), MaximumLikelihood(), Ancestral(), ChainRule()
    return GenerativeModel(space, *parts, training)


@default.register
def default_of_sounds(space: Audio) -> str:
    """The recipe that ``autoregressive`` means for sounds."""
    return "predicted"


@by_space(Audio, instead="autoregressive")
def predicted(space: Audio, size: str) -> GenerativeModel:
    """Samples as linear predictions that a network corrects: ahead of either alone, of clips of any length."""
    net_size, more = CORRECTION[size]
    net = Correction(net_size.width + more, net_size.depth, reading_of(space))
    estimand = SampleConditionals(net, space.length)
    parts = CentredSamples(space), estimand, SampleLikelihood(), Ancestral(), ChainRule()
    return GenerativeModel(space, *parts, Training(batch_size=16, learning_rate=4e-3, muon_rate=2e-2))


@players.register
def players_of_bands(space: Audio, size: str) -> Players:
    """Both networks see power in mel bands over time, as if that were an image."""
    codec, noise, width, depth = LogMel(space), IMAGE_NOISE[size], IMAGES[size].width, IMAGES[size].depth
    _, height, across = codec.event
    net = ResNetDecoder(noise, (1, height, across), 1, width, depth, reading_of(space))
    critic = ResNetCritic((1, height, across), width, depth, 256, reading_of(space))
    return Players(codec, Generator(net, codec.event, noise, bounded=False), critic, TRAINING, every=4)


@autoencoder.register
def autoencoder_of_waves(space: Audio, size: str, outputs: int, inputs: int, codes: int = 16) -> Autoencoder:
    """A code represents 16 ms. The spectral loss counts from the start."""
    net_size, hop = WAVES[size], hop_of(space.rate)
    encoder = WaveEncoder(outputs, net_size.width, net_size.depth, hop)
    decoder = WaveDecoder(inputs, space.length, net_size.width, net_size.depth, hop)
    critic = partial(SpectralCritic, space.length, CRITIC[size].width, max(hop // 4, 1))
    head, grid = LogisticHead(CentredSamples.n_values, 1, -11.0), (frames(space.length, hop), 1)
    return Autoencoder(CentredSamples(space), encoder, decoder, head, grid, critic, 3.0, 0)


@fsq.register
def residual(space: Audio, size: str) -> GenerativeModel:
    """Two numbers for each frame: a coarse one, and a correction."""
    return quantised(space, size, ResidualScalars(FRAME_LEVELS[size]))


codes_of.register(Audio, codes_of.dispatch(Images))


@unet.register
@dit.register
def of_frames(space: Audio, size: str) -> GenerativeModel:
    """Codes of sound are a row of frames, so both recipes have a transformer of frames."""
    return transformer(space, size, 1)


@by_space(Audio, instead="latent-diffusion or diffusion")
def vocoder(space: Audio, size: str) -> GenerativeModel:
    """A U-Net that denoises power in mel bands, which a vocoder that is trained first maps to waveforms."""
    step, codec = denoising(space, size), LogMel(space)
    return behind(VocodedMel(codec, _vocoder(space.conditioned_on(None), codec.bands, size)), step, space)


def _vocoder(space: Audio, bands: int, size: str) -> GenerativeModel:
    """The GAN of a vocoder, of size ``m`` at most."""
    size = "m" if parse_size(size)[0] in ("l", "xl") else size
    net_size, hop = WAVES[size], hop_of(space.rate)
    net = WaveVocoder(bands, space.rate, hop, net_size.width, net_size.depth)
    estimand = Vocoder(net, space.length, bands, space.rate)
    length = min(SEGMENT, frames(space.length, hop))
    game = Vocoding(WaveCritic(length * hop, CRITIC[size].width // 2, hop), frames=length)
    return GenerativeModel(space, Waveforms(space), estimand, game, OnePass(), NoDensity(NO_DENSITY), VOCODING)


# --- transcripts ------------------------------------------------------------------------------------------------------


@texts.register
def transcripts(given: Audio, space: Lines, size: str) -> GenerativeModel:
    """The tokens of a transcript, one after the other, given its sound."""
    encoder, decoder = SIZES[size]
    length = space.text.length
    net = SpeechTransformer(space.tokens, length, given.rate, encoder.width, encoder.depth, decoder, encoder.heads)
    estimand = TranscriptConditionals(net, length, space.end)
    training = Training(batch_size=16, learning_rate=2e-3, muon_rate=2e-2)
    objective = JointLikelihood(encoder.width, space.tokens)
    return GenerativeModel(space, LineTokens(space), estimand, objective, Ancestral(), ChainRule(), training)
