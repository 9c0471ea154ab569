"""StyleGAN: a generator in two parts, noise to a style and the style to an image, with what styles allow.

    w = mapping(z),  x = synthesis(w)

Styles can be regularised in training, so that equal steps change images equally (:class:`PathLength`), and truncated in
sampling (:class:`StyleTruncation`). Karras, Laine, Aila 2019 (https://arxiv.org/abs/1812.04948) and Karras, Laine,
Aittala, Hellsten, Lehtinen, Aila 2020 (https://arxiv.org/abs/1912.04958). The game that trains it stands in
:mod:`fourfold.paradigms.adversarial`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Estimand, Noise, Part, Sampler
from fourfold.estimands import Pushforward
from fourfold.maths.gradients import twice_differentiable
from fourfold.nn.layers import soft_clamp
from fourfold.nn.stylegan import StyleNetwork
from fourfold.vocabulary import Cost

__all__ = ["PathLength", "StyleGenerator", "StyleTruncation"]


@final
class StyleGenerator(Pushforward):
    """``x = synthesis(mapping(z), z)``, the generator of StyleGAN2: styles can be mixed, truncated and regularised.

    Args:
        net: the network. See :class:`~fourfold.nn.stylegan.StyleNetwork`.
        event: shape of an encoded example, near [-1, 1].
    """

    def __init__(self, net: StyleNetwork, event: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.event, self.latent = net, tuple(event), (net.inputs,)

    def forward(self, z: Tensor, cond: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        return soft_clamp(self.net(z, cond, truncation))


@final
class PathLength(Part, nn.Module):
    """``weight (||J_w^T y|| - a)^2`` with ``y ~ N(0, I / pixels)``: equal steps of the style change images equally.

    ``J_w`` is the Jacobian of a :class:`StyleGenerator`'s synthesis in the styles and ``a`` the running mean of the
    length (Karras et al. 2020, https://arxiv.org/abs/1912.04958).

    Args:
        weight: of the penalty.
        every: it is taken at every ``every``-th example of a batch and weighted accordingly.
        decay: of the running mean, per step.
    """

    needs: ClassVar[type[Pushforward]] = StyleGenerator
    length: Tensor

    def __init__(self, weight: float = 2.0, every: int = 8, decay: float = 0.99) -> None:
        super().__init__()
        self.weight, self.every, self.decay = weight, every, decay
        self.register_buffer("length", torch.zeros(()))

    def forward(self, generator: StyleGenerator, z: Tensor, cond: Tensor | None) -> Tensor:
        """The penalty of each row of ``z``, ``(B,)``: 0 where it is not taken."""
        index = torch.arange(0, len(z), self.every, device=z.device)
        lengths = path_lengths(generator, z[index], None if cond is None else cond[index])
        if self.training:
            with torch.no_grad():
                self.length.lerp_(lengths.detach().mean(), 1 - self.decay)
        penalty = self.weight * (lengths - self.length).square() * (len(z) / len(index))
        return z.new_zeros(len(z)).index_add(0, index, penalty)


def path_lengths(generator: StyleGenerator, z: Tensor, cond: Tensor | None = None) -> Tensor:
    """``||J_w^T y||`` for one random direction ``y`` of each image, root mean square over layers, ``(B,)``."""
    w = generator.net.styles(z, cond)
    with twice_differentiable():
        x = generator.net.synthesis(w, z, cond)
    y = torch.randn_like(x) / math.sqrt(x[0, 0].numel())
    (gradient,) = torch.autograd.grad((x * y).sum(), w, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()


@final
@dataclass(frozen=True)
class StyleTruncation(Sampler):
    """``w' = E[w] + truncation (w - E[w])``, ``x = synthesis(w')``: below 1, fewer odd samples and less variety.

    Karras, Laine, Aila 2019 (https://arxiv.org/abs/1812.04948), appendix B.
    """

    needs: ClassVar[type[Estimand]] = StyleGenerator
    cost = Cost.CONSTANT
    truncation: float = 1.0

    @property
    def summary(self) -> str:
        pulled = "" if self.truncation == 1 else f", pull the style towards its mean by {self.truncation:g}"
        return f"draw noise, map it to a style{pulled} and map the style to an image"

    @property
    def formula(self) -> str:
        pulled = "" if self.truncation == 1 else f"E[w] + {self.truncation:g}·(w − E[w])"
        return f"z ~ N(0, I),  w = mapping(z),  x = synthesis({pulled or 'w'})"

    def __call__(self, estimand: StyleGenerator, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return estimand(noise.normal(*estimand.latent), cond, self.truncation)
