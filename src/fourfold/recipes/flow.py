"""Presets of normalizing flows: networks and codecs by space, sizes xs, s and m."""

from __future__ import annotations

import functools
from collections.abc import Callable

from fourfold.codecs import Dequantised, Standardised
from fourfold.core import (
    GenerativeModel,
    Space,
    Training,
)
from fourfold.estimands import Bijection
from fourfold.likelihoods import NoDensity
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.nn.coupling_stack import CouplingStack
from fourfold.nn.dequantiser import ConvDequantiser
from fourfold.nn.glow import Glow
from fourfold.nn.made import MaskedStack
from fourfold.nn.monotone import Affine, LogisticMixture, Monotone, Spline, Triangular
from fourfold.nn.tarflow import PatchStack, side
from fourfold.nn.time_mlp import TimeMLP
from fourfold.paradigms.flow import (
    NO_DENSITY,
    AutoregressiveFlow,
    ChangeOfVariables,
    ContinuousLikelihood,
    CouplingFlow,
    Denoised,
    ExactDensity,
    FreeVelocity,
    NoiseThenMap,
    TransformerFlow,
    VariationalDequantisation,
    VariationalLikelihood,
)
from fourfold.samplers.ode import Heun
from fourfold.spaces import Images, Vectors

__all__ = [
    "continuous",
    "coupling",
    "glow",
    "maf",
    "mixture",
    "realnvp",
    "spline",
    "tarflow",
    "tarflow_noised",
    "variational",
]


def _only_vectors(space: Space, least: int, what: str) -> Vectors:
    """The space, if it is one of vectors that are long enough.

    Raises:
        TypeError: if not.
    """
    if not isinstance(space, Vectors) or space.dim < least:
        columns = f" of at least {least} columns" if least > 1 else ""
        raise TypeError(f"{what} models vectors{columns}, not {space}")
    return space


def _vectors(space: Vectors, estimand: Bijection, training: Training) -> GenerativeModel:
    """The parts that all flows of vectors share."""
    return GenerativeModel(
        space, Standardised(space), estimand, ChangeOfVariables(), NoiseThenMap(), ExactDensity(), training
    )


def _autoregressive(space: Vectors, map: Monotone, size: tuple[int, int, int], waves: int, dropout: float) -> Bijection:
    width, blocks, layers = size
    net = MaskedStack(space.dim, map.values, width, blocks, layers, waves, space.classes, dropout)
    return AutoregressiveFlow(net, map, space.dim)


def mixture(space: Space, size: str) -> GenerativeModel:
    """One autoregressive layer whose maps are mixtures of logistics, as in Flow++ (Ho et al. 2019)."""
    space = _only_vectors(space, 1, "flow/mixture")
    shape, components = {"xs": ((48, 1, 1), 8), "s": ((384, 2, 1), 32), "m": ((640, 3, 1), 48)}[size]
    estimand = _autoregressive(space, LogisticMixture(components), shape, 6, 0.0)
    return _vectors(space, estimand, Training(batch_size=512, learning_rate=2e-3, smoothing=0.5))


def spline(space: Space, size: str) -> GenerativeModel:
    """Autoregressive neural spline flow (Durkan et al. 2019)."""
    space = _only_vectors(space, 1, "flow/spline")
    shape, bins = {"xs": ((32, 1, 2), 8), "s": ((256, 2, 2), 16), "m": ((384, 2, 3), 24)}[size]
    return _vectors(
        space,
        _autoregressive(space, Spline(bins), shape, 6, 0.0),
        Training(batch_size=512, learning_rate=2e-3, smoothing=0.5),
    )


def maf(space: Space, size: str) -> GenerativeModel:
    """Masked autoregressive flow: affine maps (Papamakarios, Pavlakou, Murray 2017)."""
    space = _only_vectors(space, 1, "flow/maf")
    shape = {"xs": (32, 1, 2), "s": (256, 1, 5), "m": (384, 1, 6)}[size]
    return _vectors(
        space,
        _autoregressive(space, Affine(), shape, 0, 0.0),
        Training(batch_size=512, learning_rate=1e-3, smoothing=0.5),
    )


def coupling(space: Space, size: str) -> GenerativeModel:
    """Neural spline flow of couplings: samples in one evaluation (Durkan et al. 2019)."""
    space = _only_vectors(space, 2, "flow/coupling")
    bins, width, layers = {"xs": (8, 32, 4), "s": (16, 192, 8), "m": (24, 320, 8)}[size]
    net = CouplingStack(space.dim, Spline(bins), width, 2, layers, space.classes)
    return _vectors(space, CouplingFlow(net, space.shape), Training(batch_size=512, learning_rate=2e-3, smoothing=0.5))


def realnvp(space: Space, size: str) -> GenerativeModel:
    """Real NVP: affine couplings (Dinh, Sohl-Dickstein, Bengio 2017)."""
    space = _only_vectors(space, 2, "flow/realnvp")
    width, layers = {"xs": (32, 4), "s": (192, 12), "m": (320, 12)}[size]
    net = CouplingStack(space.dim, Affine(), width, 2, layers, space.classes)
    return _vectors(space, CouplingFlow(net, space.shape), Training(batch_size=512, learning_rate=1e-3, smoothing=0.5))


def continuous(space: Space, size: str) -> GenerativeModel:
    """FFJORD: a velocity trained by the likelihood of its own flow (Grathwohl et al. 2019)."""
    space = _only_vectors(space, 1, "flow/continuous")
    width, blocks, steps = {"xs": (32, 1, 3), "s": (128, 2, 6), "m": (256, 3, 8)}[size]
    likelihood = ProbabilityFlow(4 * steps, None if space.dims <= 8 else 4)
    return GenerativeModel(
        space,
        Standardised(space),
        FreeVelocity(TimeMLP(space.dim, width, blocks, space.classes), space.shape),
        ContinuousLikelihood(steps),
        Heun(4 * steps),
        likelihood,
        Training(batch_size=256, learning_rate=2e-3, smoothing=0.5),
    )


def _images(space: Space, estimand: Callable[[Images], Bijection], noise: float = 0.0) -> GenerativeModel:
    """The parts that all flows of images share.

    Raises:
        TypeError: for another space.
    """
    if not isinstance(space, Images):
        raise TypeError(f"this flow models images, not {type(space).__name__}: use flow/spline for vectors")
    return GenerativeModel(
        space,
        Dequantised(space),
        estimand(space),
        ChangeOfVariables(noise=noise),
        Denoised(noise) if noise else NoiseThenMap(),
        NoDensity(NO_DENSITY) if noise else ExactDensity(),
        Training(batch_size=64, learning_rate=2e-3, muon_rate=2e-2),
    )


def _transformer(space: Images, size: str) -> TransformerFlow:
    width, depth, heads, layers, most = {"xs": (32, 1, 1, 2, 4), "s": (192, 2, 4, 4, 4), "m": (384, 3, 6, 6, 4)}[size]
    patch = (side(space.height, most), side(space.width, most))
    numbers = space.channels * patch[0] * patch[1]
    maps = [Triangular(numbers, Spline(8)), *[Triangular(numbers, Affine(7.0))] * (layers - 1)]
    values = [f.values for f in maps]
    net = PatchStack(numbers, values, space.dims // numbers, width, depth, heads, space.classes)
    return TransformerFlow(net, maps, space.shape, patch)


def tarflow(space: Space, size: str, noise: float = 0.0) -> GenerativeModel:
    """Causal transformers over patches, on dequantised pixels (Zhai et al. 2024).

    Maps are affine as in the paper, but triangular within a patch; the first one is a spline, so that it can stretch the
    uniform noise of a pixel that stays at one level into a normal, which no affine map does.

    With ``noise``, trained and sampled as the paper does for looks: Gaussian noise in training, taken away at the end.
    """
    return _images(space, functools.partial(_transformer, size=size), noise)


def tarflow_noised(space: Space, size: str) -> GenerativeModel:
    """The transformer flow, trained on noised examples and sampled without their noise (Zhai et al. 2024)."""
    return tarflow(space, size, noise=0.05)


def variational(space: Space, size: str) -> GenerativeModel:
    """The transformer flow with learned dequantisation (Ho et al. 2019)."""
    model = tarflow(space, size)
    assert isinstance(space, Images)
    width, layers = {"xs": (8, 2), "s": (32, 3), "m": (64, 4)}[size]
    objective = VariationalLikelihood(ConvDequantiser(space.channels, width, layers), space.levels)
    likelihood, training = VariationalDequantisation(), model.training_defaults
    return GenerativeModel(space, model.codec, model.estimand, objective, model.sampler, likelihood, training)


def glow(space: Space, size: str) -> GenerativeModel:
    """Glow: convolutional couplings of several scales; samples in one evaluation (Kingma, Dhariwal 2018)."""
    width, steps, levels = {"xs": (16, 1, 2), "s": (96, 6, 3), "m": (192, 10, 3)}[size]

    def estimand(space: Images) -> Bijection:
        if space.channels == 1 and space.height % 2 and space.width % 2:
            raise TypeError(f"Glow couples channels, and {space} has one and odd sides, so none to couple")
        shape = (space.channels, space.height, space.width)
        return CouplingFlow(Glow(shape, width, steps, levels, space.classes), space.shape)

    return _images(space, estimand)
