"""Presets of diffusion: networks and codecs by space, in sizes xs, s and m. Of images and texts also l and xl."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fourfold.codecs import Dequantised, LineTokens, MixedColumns, RealRows, Standardised, TextTokens
from fourfold.core import Codec, Estimand, GenerativeModel, Likelihood, Objective, Sampler, Space, Training
from fourfold.estimands.preconditioned import (
    NetworkField,
    NetworkNoise,
    NetworkScore,
    NetworkVelocity,
    Preconditioned,
    SteppedNoise,
    SteppedVelocity,
)
from fourfold.likelihoods import DiffusionBound, ProbabilityFlow
from fourfold.maths.paths import EDM, VE, VP, LinearLogSNR, RectifiedFlow, SubVP
from fourfold.nn.ddpm_unet import DDPMUNet
from fourfold.nn.dit import DiT
from fourfold.nn.noise_trees import NoiseTrees
from fourfold.nn.orders import OrderedTransformer
from fourfold.nn.reading import reading_of
from fourfold.nn.reading.flat import FlatNumbers, flat_values
from fourfold.nn.time_mlp import TimeMLP
from fourfold.nn.transformer import MaskedTransformer
from fourfold.paradigms.blocks import BlockBound, BlockDenoiser, BlockDenoising, BlockUnmasking
from fourfold.paradigms.diffusion import (
    CoupledFlowMatching,
    Denoising,
    DenoisingScoreMatching,
    FlowMatching,
    NoisePrediction,
    SlicedScoreMatching,
)
from fourfold.paradigms.joint import JointBound, JointDenoising, JointSteps, RowDenoiser
from fourfold.paradigms.masked import ColumnDenoiser, MaskedBound, MaskedDenoising, TextDenoiser, Unmasking
from fourfold.paradigms.sequences import SequenceDenoiser
from fourfold.paradigms.trees import TreeDenoiser
from fourfold.recipes.autoregressive import SEQUENCES, TEXT, text_training
from fourfold.recipes.by_space import by_space
from fourfold.recipes.networks import (
    batch_of,
    bins_of,
    column_network,
    row_network,
    sides,
    unet,
)
from fourfold.recipes.sizes import Size, Sizes
from fourfold.samplers.ode import DDIM, DPMSolver, Euler, Heun, UniPC
from fourfold.spaces import Images, Lines, Sequences, Table, Text, Vectors
from fourfold.vocabulary import TooManyColumns

__all__ = [
    "Parts",
    "blocks",
    "ddpm",
    "ddpm_velocity",
    "denoising",
    "dit",
    "flow_likelihood",
    "joint",
    "masked",
    "optimal_transport",
    "parts",
    "sliced",
    "subvp",
    "trees",
    "ve",
    "velocity",
    "vp",
]

UNET: Sizes[tuple[Size, ...]] = Sizes(
    {
        "xs": (Size(32, 1), Size(64, 1)),
        "s": (Size(128, 1), Size(128, 2), Size(128, 2)),
        "m": (Size(192, 2), Size(256, 3), Size(256, 3)),
        "l": (Size(320, 2), Size(576, 3), Size(768, 4)),
        "xl": (Size(1024, 3), Size(1792, 3), Size(2304, 4)),
    }
)
"""Channels and blocks of each stage. Smaller images need fewer stages: ``l`` and ``xl`` are meant for 64 pixels."""
DDPM: Sizes[tuple[Size, ...]] = Sizes(
    {
        "xs": (Size(16, 1), Size(32, 1)),
        "s": (Size(64, 1), Size(128, 1), Size(128, 1)),
        "m": (Size(128, 2), Size(256, 2), Size(256, 2)),
        "l": (Size(192, 2), Size(384, 2), Size(576, 2), Size(576, 2)),
        "xl": (Size(512, 3), Size(1024, 3), Size(1536, 3), Size(1536, 3)),
    }
)
"""Channels of each stage, and blocks, of which every stage has the same number."""
TRANSFORMER: Sizes[Size] = Sizes(
    {
        "xs": Size(64, 2, 2),
        "s": Size(192, 6, 3),
        "m": Size(384, 10, 6),
        "l": Size(768, 10, 12),
        "xl": Size(1792, 18, 28),
    }
)
PERCEPTRON: Sizes[Size] = Sizes({"xs": Size(64, 2), "s": Size(256, 3), "m": Size(384, 5)})
ROWS: Sizes[tuple[int, Size]] = Sizes({"xs": (4, Size(64, 2)), "s": (8, Size(256, 4)), "m": (16, Size(512, 6))})
"""Length of a token's vector, and the network of all columns."""
SOLVER_STEPS: Sizes[int] = Sizes({"xs": 12, "s": 24, "m": 24, "l": 24, "xl": 24})
"""Solver steps of the likelihood."""
FOREST: Sizes[tuple[int, int, int]] = Sizes({"xs": (6, 8, 16), "s": (12, 24, 32), "m": (20, 48, 48)})
"""Noise levels that have trees, trees of an ensemble, and leaves of a tree."""
MOST_NUMBERS = 256
"""The most numbers of a row that trees denoise."""
BLOCK = 4
"""Tokens of a block of text. The fewer they are, the nearer the bound is to an autoregressive model's likelihood."""
LEAN = 8.0
"""The odds that a token of a block is unmasked before its right neighbour."""
MASKED_STEPS = 64
"""Steps in which a longer text or sequence is drawn: several tokens at once."""
MUON_RATE: Sizes[float] = Sizes({"xs": 0.02, "s": 0.03, "m": 0.02, "l": 0.02, "xl": 0.01})
"""Muon's rate for images."""


@dataclass(frozen=True)
class Parts:
    """The parts that every recipe of diffusion takes for a space.

    Attributes:
        net: ``F(x, tau, cond)`` of encoded examples, for one time or two.
        codec: maps raw examples to reals.
        likelihood: the likelihood of all recipes.
        training: rates and batch size.
        noise: mean and standard deviation of the logarithm of the noise levels that a denoiser learns.
    """

    net: nn.Module
    codec: Codec
    likelihood: Likelihood
    training: Training
    noise: tuple[float, float] = (-1.2, 1.2)

    def model(self, space: Space, estimand: Estimand, objective: Objective, sampler: Sampler) -> GenerativeModel:
        """A model of these parts and the parts of a recipe."""
        return GenerativeModel(space, self.codec, estimand, objective, sampler, self.likelihood, self.training)


@by_space(Images, instead="diffusion/masked or diffusion/joint for tables")
def parts(space: Images, size: str, times: int = 1) -> Parts:
    """Networks, codec, likelihood and training of a space.

    Args:
        space: the space of the examples.
        size: a size of :func:`fourfold.build`.
        times: number of times that are inputs of the network: two for jumps between any two of them.
    """
    return _of_images(space, size, unet(space, UNET[size], times))


@parts.register
def _(space: Vectors, size: str, times: int = 1) -> Parts:
    width, depth = PERCEPTRON[size].width, PERCEPTRON[size].depth
    return _of_vectors(space, size, TimeMLP(space.dim, width, depth, reading_of(space), times))


def _of_images(space: Images, size: str, net: nn.Module) -> Parts:
    training = Training(128, 2e-3, muon_rate=MUON_RATE[size])
    return Parts(net, Dequantised(space), flow_likelihood(space, size, 2), training)


def _of_vectors(space: Vectors, size: str, net: nn.Module) -> Parts:
    """Parts for vectors, which are cheap: large batches, and AdamW alone."""
    return Parts(net, Standardised(space), flow_likelihood(space, size, 4), Training(512, 2e-3))


def flow_likelihood(space: Space, size: str, probes: int) -> ProbabilityFlow:
    """The exact trace where it costs no more than probes. Few probes where a codec that draws has them drawn anew."""
    return ProbabilityFlow(SOLVER_STEPS[size], None if space.dims <= 8 else probes)


def denoising(space: Space, size: str) -> GenerativeModel:
    """A preconditioned denoiser on the path of Karras et al. 2022 (https://arxiv.org/abs/2206.00364)."""
    return _denoised(space, parts(space, size))


@by_space(Images)
def dit(space: Images, size: str) -> GenerativeModel:
    """:func:`denoising` with a transformer of patches."""
    side, net_size = max(space.height, space.width), TRANSFORMER[size]
    patch = 2 if side < 16 else 4 if side <= 64 else 8
    net = DiT(sides(space), net_size.width, net_size.depth, net_size.heads, patch, reading_of(space), 1)
    return _denoised(space, _of_images(space, size, net))


def _denoised(space: Space, base: Parts) -> GenerativeModel:
    rms = base.codec.rms
    estimand = Preconditioned(base.net, base.codec.event, EDM(), rms)
    return base.model(space, estimand, Denoising(*base.noise, rms), DPMSolver())


def velocity(space: Space, size: str) -> GenerativeModel:
    """Rectified flow: the velocity of straight lines (Liu, Gong, Liu 2023, https://arxiv.org/abs/2209.03003)."""
    base = parts(space, size)
    estimand = NetworkVelocity(base.net, base.codec.event, RectifiedFlow(), base.codec.rms)
    return base.model(space, estimand, FlowMatching(), Heun(10))


def optimal_transport(space: Space, size: str) -> GenerativeModel:
    """Flow matching on straight lines to the noise that optimal transport assigns."""
    base = parts(space, size)
    estimand = NetworkField(base.net, base.codec.event, RectifiedFlow(), base.codec.rms)
    return base.model(space, estimand, CoupledFlowMatching(), Heun(4))


def vp(space: Space, size: str) -> GenerativeModel:
    """Noise prediction on the variance-preserving path."""
    base = parts(space, size)
    estimand = NetworkNoise(base.net, base.codec.event, VP(), base.codec.rms)
    return base.model(space, estimand, NoisePrediction(), UniPC())


def ve(space: Space, size: str) -> GenerativeModel:
    """Denoising score matching on the variance-exploding path."""
    base = parts(space, size)
    estimand = NetworkScore(base.net, base.codec.event, VE(), base.codec.rms)
    return base.model(space, estimand, DenoisingScoreMatching(), DPMSolver())


def subvp(space: Space, size: str) -> GenerativeModel:
    """A preconditioned denoiser on the sub-variance-preserving path."""
    base = parts(space, size)
    estimand = Preconditioned(base.net, base.codec.event, SubVP(), base.codec.rms)
    return base.model(space, estimand, Denoising(sigma_data=base.codec.rms), DPMSolver())


def ddpm(space: Space, size: str) -> GenerativeModel:
    """Noise prediction with the U-Net of Ho et al. 2020, which ``fourfold export`` writes for diffusers."""
    net, base = _stepped(space, size)
    return base.model(space, SteppedNoise(net, base.codec.event, VP()), NoisePrediction(), DDIM(50))


def ddpm_velocity(space: Space, size: str) -> GenerativeModel:
    """Rectified flow with the network of :func:`ddpm`."""
    net, base = _stepped(space, size)
    return base.model(space, SteppedVelocity(net, base.codec.event, RectifiedFlow()), FlowMatching(), Euler(50))


@by_space(Images)
def _stepped(space: Images, size: str) -> tuple[DDPMUNet, Parts]:
    """The U-Net of Ho et al., with as many stages as the sides can be halved, and its parts."""
    stages, count = DDPM[size], 1
    while count < len(stages) and space.height % 2**count == 0 and space.width % 2**count == 0:
        count += 1
    widths = tuple(stage.width for stage in stages[:count])
    net = DDPMUNet(space.channels, widths, stages[0].depth, reading_of(space))
    return net, _of_images(space, size, net)


@by_space(Vectors)
def sliced(space: Vectors, size: str) -> GenerativeModel:
    """Sliced score matching, for vectors: its second derivatives are costly in large networks."""
    width, depth = PERCEPTRON[size].width, PERCEPTRON[size].depth
    # no waves of the input: the loss is linear in their derivatives, whose noise would exceed the rest
    base = _of_vectors(space, size, TimeMLP(space.dim, width, depth, reading_of(space), detail=False))
    estimand = NetworkScore(base.net, base.codec.event, VP(), base.codec.rms)
    return base.model(space, estimand, SlicedScoreMatching(), DPMSolver())


@by_space(Table)
def masked(space: Table, size: str) -> GenerativeModel:
    """Masked diffusion of the tokens of tables, texts and sequences of rows."""
    codec, net = column_network(space, size)
    estimand, training = ColumnDenoiser(net, space.dims), Training(batch_size=256, learning_rate=1e-2, weight_decay=0.1)
    return GenerativeModel(space, codec, estimand, MaskedDenoising(), Unmasking(), MaskedBound(), training)


@masked.register(Text)
@masked.register(Lines)
def _(space: Text | Lines, size: str) -> GenerativeModel:
    net_size, (length,) = TEXT[size], space.shape
    net = MaskedTransformer(
        space.tokens, net_size.width, net_size.depth, net_size.heads, reading=reading_of(space, attends=True)
    )
    codec: TextTokens | LineTokens
    if isinstance(space, Text):
        codec, denoiser = TextTokens(space), TextDenoiser(net, length)
    else:
        codec, denoiser = LineTokens(space), TextDenoiser(net, length, begin=space.end)
    training = Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2)
    parts = (codec, denoiser, MaskedDenoising(), _unmasking(length), MaskedBound(), training)
    return GenerativeModel(space, *parts)


@by_space(Text, instead="diffusion/masked")
def blocks(space: Text, size: str) -> GenerativeModel:
    """Masked diffusion within blocks, which follow one another."""
    net_size = TEXT[size]
    shape = (net_size.width, net_size.depth, net_size.heads)
    net = OrderedTransformer(space.tokens, space.length, BLOCK, *shape, reading=reading_of(space, attends=True))
    parts = (
        TextTokens(space),
        BlockDenoiser(net, space.length, LEAN),
        BlockDenoising(),
        BlockUnmasking(),
        BlockBound(),
    )
    return GenerativeModel(space, *parts, text_training(space, net_size))


@by_space(Table)
def joint(space: Table, size: str) -> GenerativeModel:
    """Masked diffusion of the categories and Gaussian diffusion of the numbers of a table, in one process."""
    codec, (embedding, net_size) = MixedColumns(space, bins_of(space, 512)), ROWS[size]
    sizes, reals = codec.sizes, len(codec.graded)
    inputs, outputs = embedding * len(sizes) + 3 * reals, sum(sizes) + reals
    net = TimeMLP(inputs, net_size.width, net_size.depth, reading_of(space), detail=False, outputs=outputs)
    estimand = RowDenoiser(net, sizes, reals, embedding, LinearLogSNR())
    training = Training(batch_size=batch_of(512, sum(sizes)), learning_rate=2e-3, weight_decay=0.01)
    return GenerativeModel(space, codec, estimand, JointDenoising(), JointSteps(), JointBound(), training)


@by_space(Table, instead="diffusion")
def trees(space: Table, size: str) -> GenerativeModel:
    """A denoiser of boosted trees beside a Gaussian, at each noise level and for each class: for few rows.

    Raises:
        TooManyColumns: for rows of too many numbers, those of a condition among them.
    """
    codec = RealRows(space)
    return _of_trees(space, size, codec, 0 if space.conditional else codec.far)


@trees.register
def _(space: Vectors, size: str) -> GenerativeModel:
    return _of_trees(space, size, Standardised(space), 0)


def _of_trees(space: Space, size: str, codec: Codec, classes: int) -> GenerativeModel:
    """A model of codes whose first numbers are the corners of so many classes."""
    (dim,), reading = codec.event, reading_of(space)
    given = () if space.given is None or (reading and reading.labels) else flat_values(space.given)
    labels = 0 if reading is None else max(reading.labels, 1)
    if (count := dim + len(given)) > MOST_NUMBERS:
        raise TooManyColumns(f"trees must have at most {MOST_NUMBERS:,} numbers, got {count:,}: use diffusion")
    levels, rounds, leaves = FOREST[size]
    numbers = FlatNumbers(given).width if given else 0
    net = NoiseTrees(dim - classes, max(classes, labels + 1), levels, rounds, leaves, numbers)
    estimand, training = TreeDenoiser(net, EDM(), classes, labels, given), Training(batch_size=128, learning_rate=0.01)
    parts = (codec, estimand, Denoising(-1.2, 1.2, 1.0), DPMSolver(40), DiffusionBound(128), training)
    return GenerativeModel(space, *parts)


@masked.register
def _(space: Sequences, size: str) -> GenerativeModel:
    """The length is drawn first, then the values of all rows."""
    codec, net = row_network(space, size, causal=False)
    estimand = SequenceDenoiser(net, space.length, 1 + len(space.columns), 1 + space.at, space.key is not None)
    parts = (codec, estimand, MaskedDenoising(), _unmasking(*codec.event), MaskedBound(), SEQUENCES)
    return GenerativeModel(space, *parts)


def _unmasking(length: int) -> Unmasking:
    """One token at a time where they are few."""
    return Unmasking(0 if length <= MASKED_STEPS else MASKED_STEPS)
