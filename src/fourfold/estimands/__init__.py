"""The estimands, the quantities of a distribution that can be learned, and the exact views between them.

For a path ``x_t = alpha_t x_0 + sigma_t eps`` the denoiser ``D = E[x_0 | x_t]``, the noise ``eps_hat = E[eps | x_t]``,
the velocity ``v = E[dx_t/dt | x_t]`` and the score ``s = grad log p_t(x_t)`` are affine in each other:

    x_t = alpha_t D + sigma_t eps_hat        v = alpha'_t D + sigma'_t eps_hat        s = -eps_hat / sigma_t

so a model of one is a model of all (Song et al. 2021, https://arxiv.org/abs/2011.13456; Kingma and Gao 2023,
https://arxiv.org/abs/2303.00848). This needs ``eps`` to be independent of ``x_0``. A :class:`VectorField` that carries
noise to data in any other way determines neither score nor denoiser, and has none of these views.

At the ends of a path not every view exists. Where ``sigma_t = 0`` the others do not determine the score. Where
``alpha_t = 0`` noise and score do not determine the example. There the coefficients are held at ``SMALLEST``: the noise
is then 0 at ``sigma_t = 0``, which is its limit, and the example is 0 at ``alpha_t = 0``, the mean of centred data.
"""

from fourfold.estimands.base import (
    AlongPath,
    AnyOrderConditionals,
    AverageVelocity,
    Bijection,
    Conditionals,
    ConsistencyFunction,
    Continuing,
    ContinuousEnergy,
    Decoder,
    Denoiser,
    Energy,
    MixedDenoiser,
    NoisedEnergy,
    NoisePredictor,
    Observation,
    PartialRows,
    Pushforward,
    Reference,
    Score,
    StepwiseConditionals,
    TiltedReference,
    TokenDenoiser,
    TokenwiseDenoiser,
    VectorField,
    Velocity,
)
from fourfold.estimands.views import SMALLEST, AsDenoiser, AsNoisePredictor, AsScore, AsVelocity

__all__ = [
    "SMALLEST",
    "AlongPath",
    "AnyOrderConditionals",
    "AsDenoiser",
    "AsNoisePredictor",
    "AsScore",
    "AsVelocity",
    "AverageVelocity",
    "Bijection",
    "Conditionals",
    "ConsistencyFunction",
    "Continuing",
    "ContinuousEnergy",
    "Decoder",
    "Denoiser",
    "Energy",
    "MixedDenoiser",
    "NoisePredictor",
    "NoisedEnergy",
    "Observation",
    "PartialRows",
    "Pushforward",
    "Reference",
    "Score",
    "StepwiseConditionals",
    "TiltedReference",
    "TokenDenoiser",
    "TokenwiseDenoiser",
    "VectorField",
    "Velocity",
]
