"""Presets of normalizing flows: networks and codecs by space, in sizes xs, s and m."""

from __future__ import annotations

import math

from fourfold.codecs import Dequantised, GaussianColumns, GaussianPixels, Standardised
from fourfold.core import Codec, GenerativeModel, Space, Training
from fourfold.estimands import Bijection
from fourfold.likelihoods import NoDensity, ProbabilityFlow
from fourfold.nn.coupling_stack import CouplingStack
from fourfold.nn.dequantiser import ConvDequantiser
from fourfold.nn.glow import Glow
from fourfold.nn.made import MaskedStack
from fourfold.nn.monotone import Affine, LogisticMixture, Monotone, Spline, Triangular
from fourfold.nn.reading import reading_of
from fourfold.nn.regression import regression_of
from fourfold.nn.tarflow import PatchStack, side
from fourfold.nn.time_mlp import TimeMLP
from fourfold.paradigms.continuous_flow import ContinuousLikelihood, FreeVelocity
from fourfold.paradigms.flow import (
    NO_DENSITY,
    AutoregressiveFlow,
    CentredFlow,
    ChangeOfVariables,
    CouplingFlow,
    Denoised,
    ExactDensity,
    NoiseThenMap,
    TransformerFlow,
    VariationalDequantisation,
    VariationalLikelihood,
)
from fourfold.recipes.by_space import by_space
from fourfold.recipes.networks import bins_of, check_width, sides
from fourfold.recipes.sizes import Size, Sizes
from fourfold.samplers.ode import Heun
from fourfold.spaces import Images, Table, Vectors

__all__ = [
    "columns",
    "continuous",
    "coupling",
    "couplings",
    "glow",
    "maf",
    "mixture",
    "of_columns",
    "patchwise",
    "realnvp",
    "spline",
    "tarflow",
    "tarflow_noised",
    "variational",
]

MIXTURE: Sizes[tuple[Size, int]] = Sizes({"xs": (Size(48, 1), 8), "s": (Size(384, 2), 32), "m": (Size(640, 3), 48)})
"""The network, and the components of each map."""
SPLINE: Sizes[tuple[Size, int, int]] = Sizes(
    {"xs": (Size(32, 1), 2, 8), "s": (Size(256, 2), 2, 16), "m": (Size(384, 2), 3, 24)}
)
"""The network of a layer, the layers, the bins of each spline."""
MAF: Sizes[tuple[Size, int]] = Sizes({"xs": (Size(32, 1), 2), "s": (Size(256, 1), 5), "m": (Size(384, 1), 6)})
COUPLING: Sizes[tuple[Size, int, int]] = Sizes(
    {"xs": (Size(32, 2), 4, 8), "s": (Size(192, 2), 8, 16), "m": (Size(320, 2), 8, 24)}
)
REAL_NVP: Sizes[tuple[Size, int]] = Sizes({"xs": (Size(32, 2), 4), "s": (Size(192, 2), 12), "m": (Size(320, 2), 12)})
CONTINUOUS: Sizes[tuple[Size, int]] = Sizes({"xs": (Size(32, 1), 3), "s": (Size(128, 2), 6), "m": (Size(256, 3), 8)})
"""The network, and the solver's steps in training."""
PATCHES: Sizes[tuple[Size, int]] = Sizes(
    {"xs": (Size(32, 1, 1), 2), "s": (Size(192, 2, 4), 4), "m": (Size(384, 3, 6), 6)}
)
"""The transformer of a layer, and the layers."""
DEQUANTISER: Sizes[Size] = Sizes({"xs": Size(8, 2), "s": Size(32, 3), "m": Size(64, 4)})
GLOW: Sizes[tuple[Size, int]] = Sizes({"xs": (Size(16, 1), 2), "s": (Size(96, 6), 3), "m": (Size(192, 10), 3)})
"""The steps of one scale, and the scales."""

PIXELS = Training(batch_size=64, learning_rate=2e-3, muon_rate=2e-2)
"""Training of flows of images."""


# --- vectors ----------------------------------------------------------------------------------------------------------


@by_space(Vectors)
def columns(space: Vectors) -> Codec:
    """The codec that turns an example into one vector of reals. Another space registers its own."""
    return Standardised(space)


@columns.register
def _(space: Table) -> Codec:
    check_width(space, "maps")
    return GaussianColumns(space, bins_of(space, 512))


def _halves(space: Space) -> Codec:
    """The codec of :func:`columns` for couplings, which map one half of the columns given the other.

    Raises:
        TypeError: for fewer than two columns.
    """
    codec = columns(space)
    if codec.event[0] < 2:
        raise TypeError(f"data must have at least 2 columns for couplings, got {space}; use flow/spline")
    return codec


def of_columns(space: Space, codec: Codec, estimand: Bijection, learning_rate: float = 2e-3) -> GenerativeModel:
    """The parts that all flows of vectors share, and those of codes that are vectors."""
    training = Training(batch_size=512, learning_rate=learning_rate, smoothing=0.5)
    estimand = CentredFlow.of(estimand, regression_of(space))
    return GenerativeModel(space, codec, estimand, ChangeOfVariables(), NoiseThenMap(), ExactDensity(), training)


def _masked(space: Space, codec: Codec, map: Monotone, size: Size, layers: int, waves: int = 6) -> AutoregressiveFlow:
    (dim,) = codec.event
    net = MaskedStack(dim, map.values, size.width, size.depth, layers, waves, reading_of(space))
    return AutoregressiveFlow(net, map, dim)


def mixture(space: Space, size: str) -> GenerativeModel:
    """One autoregressive layer whose maps are mixtures of logistics, as in Flow++ (Ho et al. 2019)."""
    codec = columns(space)
    net, components = MIXTURE[size]
    return of_columns(space, codec, _masked(space, codec, LogisticMixture(components), net, layers=1))


def spline(space: Space, size: str) -> GenerativeModel:
    """Autoregressive neural spline flow (Durkan et al. 2019, https://arxiv.org/abs/1906.04032)."""
    codec = columns(space)
    net, layers, bins = SPLINE[size]
    return of_columns(space, codec, _masked(space, codec, Spline(bins), net, layers))


def maf(space: Space, size: str) -> GenerativeModel:
    """Masked autoregressive flow: affine maps (Papamakarios, Pavlakou, Murray 2017)."""
    codec = columns(space)
    net, layers = MAF[size]
    return of_columns(space, codec, _masked(space, codec, Affine(), net, layers, waves=0), 1e-3)


def coupling(space: Space, size: str) -> GenerativeModel:
    """Neural spline flow of couplings: samples in one evaluation (Durkan et al. 2019)."""
    codec = _halves(space)
    return of_columns(space, codec, couplings(space, codec.event[0], size))


def couplings(space: Space, dim: int, size: str) -> CouplingFlow:
    """Spline couplings of ``dim`` numbers, given the conditions of a space."""
    net_size, layers, bins = COUPLING[size]
    net = CouplingStack(dim, Spline(bins), net_size.width, net_size.depth, layers, reading_of(space))
    return CouplingFlow(net, (dim,))


def realnvp(space: Space, size: str) -> GenerativeModel:
    """Real NVP: affine couplings (Dinh, Sohl-Dickstein, Bengio 2017)."""
    codec = _halves(space)
    net_size, layers = REAL_NVP[size]
    net = CouplingStack(codec.event[0], Affine(), net_size.width, net_size.depth, layers, reading_of(space))
    return of_columns(space, codec, CouplingFlow(net, codec.event), 1e-3)


def continuous(space: Space, size: str) -> GenerativeModel:
    """FFJORD: a velocity trained by the likelihood of its own flow (Grathwohl et al. 2019)."""
    codec = columns(space)
    net_size, steps = CONTINUOUS[size]
    (dim,) = codec.event
    estimand = FreeVelocity(TimeMLP(dim, net_size.width, net_size.depth, reading_of(space)), codec.event)
    likelihood = ProbabilityFlow(4 * steps, None if dim <= 8 else 4)
    training = Training(batch_size=256, learning_rate=2e-3, smoothing=0.5)
    return GenerativeModel(space, codec, estimand, ContinuousLikelihood(steps), Heun(4 * steps), likelihood, training)


# --- images -----------------------------------------------------------------------------------------------------------


COLUMNS = "flow/spline for vectors and tables"
"""The way out for other spaces than images."""


@by_space(Images, instead=COLUMNS)
def patchwise(space: Images, size: str) -> tuple[Codec, Bijection]:
    """The codec to reals, and a transformer flow of patches."""
    net_size, layers = PATCHES[size]
    patch = (side(space.height, 4), side(space.width, 4))
    numbers = space.channels * patch[0] * patch[1]
    maps = [Triangular(numbers, Spline(8)), *[Triangular(numbers, Affine(7.0))] * (layers - 1)]
    values = [f.values for f in maps]
    grid, sizes = (space.height // patch[0], space.width // patch[1]), (net_size.width, net_size.depth, net_size.heads)
    net = PatchStack(numbers, values, math.prod(grid), *sizes, reading_of(space), grid, patch)
    return GaussianPixels(space), TransformerFlow(net, maps, space.shape, patch)


def tarflow(space: Space, size: str) -> GenerativeModel:
    """Causal transformers over patches of pixels (Zhai et al. 2024, https://arxiv.org/abs/2412.06329).

    Maps are affine as in the paper, but triangular within a patch. The first one is a spline, so that it can stretch
    the noise of a pixel with a constant value into a normal, which no affine map does. Each pixel is normal before,
    so that training starts from the density of independent pixels.
    """
    codec, estimand = patchwise(space, size)
    return GenerativeModel(space, codec, estimand, ChangeOfVariables(), NoiseThenMap(), ExactDensity(), PIXELS)


def tarflow_noised(space: Space, size: str) -> GenerativeModel:
    """:func:`tarflow` of dequantised pixels with noise. Samples are denoised at the end, as in the paper."""
    (codec, estimand), noise = patchwise(space, size), 0.05
    codec = Dequantised(space) if isinstance(space, Images) else codec  # only pixels are integers
    objective, sampler = ChangeOfVariables(noise=noise), Denoised(noise)
    return GenerativeModel(space, codec, estimand, objective, sampler, NoDensity(NO_DENSITY), PIXELS)


@by_space(Images, instead=COLUMNS)
def variational(space: Images, size: str) -> GenerativeModel:
    """The transformer flow with learned dequantisation (Ho et al. 2019)."""
    _, estimand = patchwise(space, size)
    net_size = DEQUANTISER[size]
    objective = VariationalLikelihood(ConvDequantiser(space.channels, net_size.width, net_size.depth), space.n_values)
    return GenerativeModel(
        space, Dequantised(space), estimand, objective, NoiseThenMap(), VariationalDequantisation(), PIXELS
    )


@by_space(Images, instead=COLUMNS)
def glow(space: Images, size: str) -> GenerativeModel:
    """Glow: convolutional couplings of several scales. Samples in one evaluation (Kingma, Dhariwal 2018).

    Raises:
        TypeError: for images with no pair of channels to couple.
    """
    net_size, levels = GLOW[size]
    if space.channels == 1 and space.height % 2 and space.width % 2:
        raise TypeError(f"data must have several channels or an even side for couplings, got {space}; use flow")
    estimand = CouplingFlow(Glow(sides(space), net_size.width, net_size.depth, levels, reading_of(space)), space.shape)
    return GenerativeModel(
        space, GaussianPixels(space), estimand, ChangeOfVariables(), NoiseThenMap(), ExactDensity(), PIXELS
    )
