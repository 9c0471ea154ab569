"""An invertible map of vectors made of affine couplings, with its log-determinant.

Dinh, Sohl-Dickstein, Bengio 2017, Density estimation using Real NVP (https://arxiv.org/abs/1605.08803).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.maths.normal import standard_log_prob
from fourfold.nn.entry import Passed, read
from fourfold.nn.prior import Prior
from fourfold.nn.resnet import ResMLP

__all__ = ["Couplings"]


@final
class Couplings(Prior):
    """``u = f(eps)``: each layer scales and shifts one half of the coordinates by functions of the other, then swaps.

        (a, b) -> (b · exp(s(a)) + t(a), a),   s = bound · tanh(s~ / bound)

    It starts as a permutation. Everything but the small networks inside is computed in float32.

    Args:
        dim: length of the vectors, at least 2.
        width, blocks: size of the network in each layer.
        layers: number of couplings. An even number starts as the identity where ``dim`` is even.
        reading: reads the condition, or ``None``.
        bound: largest absolute log-scale of a layer.

    Raises:
        ValueError: for fewer than 2 dimensions.
    """

    summary = "a coupling flow"

    def __init__(
        self,
        dim: int,
        width: int = 128,
        blocks: int = 1,
        layers: int = 4,
        reading: Reading | None = None,
        bound: float = 1.0,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(f"dim must be at least 2, got {dim}: couplings move one half by the other")
        self.dim, self.bound, self.noise = dim, bound, (dim,)
        halves = [dim // 2 if i % 2 == 0 else dim - dim // 2 for i in range(layers)]
        self.reading = reading
        self.nets = nn.ModuleList(
            ResMLP(half, 2 * (dim - half), width, blocks, Passed.of(reading), gain=0.0) for half in halves
        )
        self.halves = halves

    def _parameters_of(self, i: int, a: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-scale and shift of layer ``i``, float32."""
        s, t = self.nets[i](a, cond).chunk(2, 1)
        return self.bound * torch.tanh(s / self.bound), t

    def forward(self, eps: Tensor, cond: Tensor | None = None) -> Tensor:
        """``u = f(eps)``, ``(B, dim)``."""
        h, cond = eps, read(self.reading, cond, len(eps))
        for i, half in enumerate(self.halves):
            a, b = h[:, :half], h[:, half:]
            s, t = self._parameters_of(i, a, cond)
            h = torch.cat([b * s.exp() + t, a], 1)
        return h

    def inverse(self, u: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``eps = f^-1(u)``, ``(B, dim)``, and ``log |det d eps / d u|``, ``(B,)``."""
        h, log_det, cond = u, u.new_zeros(len(u)), read(self.reading, cond, len(u))
        for i, half in reversed(list(enumerate(self.halves))):
            moved, a = h[:, : self.dim - half], h[:, self.dim - half :]
            s, t = self._parameters_of(i, a, cond)
            h, log_det = torch.cat([a, (moved - t) * (-s).exp()], 1), log_det - s.sum(1)
        return h, log_det

    def log_prob(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log N(f^-1(u)) + log |det d f^-1 / d u|``, ``(B,)``."""
        eps, log_det = self.inverse(u, cond)
        return standard_log_prob(eps) + log_det
