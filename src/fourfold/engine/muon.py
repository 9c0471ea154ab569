"""Muon on slices of one flat tensor, equal shapes together.

``torch.optim.Muon`` accepts matrices only and treats them one by one. Here kernels are matrices ``(out, in · h · w)``,
and all matrices of one shape go through one batched iteration, which takes less than half the time on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from fourfold.engine.kernels import multiplies_bf16

__all__ = ["Muon", "orthogonalised"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(g: Tensor, dtype: torch.dtype = torch.bfloat16, steps: int = 5) -> Tensor:
    """``U S' V^T`` with singular values S' near 1, for a stack ``(n, rows, columns)`` of matrices ``U S V^T``.

    The quintic Newton-Schulz iteration ``X <- a X + (b A + c A^2) X, A = X X^T`` (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/).

    Args:
        g: the stack, ``(n, rows, columns)``.
        dtype: dtype of the products and of the result. The iteration is stable in bfloat16.
        steps: iterations.
    """
    a, b, c = _COEFFICIENTS
    tall = g.shape[-2] > g.shape[-1]
    x = g.mT if tall else g
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).to(dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


@final
class Muon:
    """Orthogonalised momentum: ``W <- (1 - rate lambda) W - rate sqrt(max(1, rows / columns)) O``.

    ``B <- mu B + (1 - mu) g`` is the momentum, and ``O`` is the orthogonalised Nesterov momentum ``(1 - mu) g + mu B``.
    Reference as in :func:`orthogonalised`.

    Args:
        flat, gradient: the tensors whose slices are matrices and their gradients.
        matrices: ``(start, stop, rows)`` of each matrix.
        weight_decay: decoupled weight decay, ``lambda``.
        momentum: mu.
        dtype: dtype of the orthogonalisation; by default bfloat16 where it is faster here, else float32.
    """

    def __init__(
        self,
        flat: Tensor,
        gradient: Tensor,
        matrices: Sequence[tuple[int, int, int]],
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.dtype = dtype or (torch.bfloat16 if multiplies_bf16(flat.device) else torch.float32)
        self.flat, self.gradient, self.mu, self.weight_decay = flat, gradient, momentum, weight_decay
        self.run = slice(matrices[0][0], matrices[-1][1]) if matrices else slice(0, 0)
        self.momentum = torch.zeros_like(flat[self.run])
        self._shapes: dict[tuple[int, int], list[slice]] = {}
        for start, stop, rows in matrices:
            place = slice(start - self.run.start, stop - self.run.start)
            self._shapes.setdefault((rows, (stop - start) // rows), []).append(place)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update with a learning rate."""
        if not self._shapes:
            return
        weight, g = self.flat[self.run], self.gradient[self.run]
        self.momentum.lerp_(g, 1 - self.mu)
        update = g.lerp(self.momentum, self.mu)
        for (rows, columns), places in self._shapes.items():
            stack = torch.stack([update[place].view(rows, columns) for place in places])
            scale = rate * math.sqrt(max(1, rows / columns))
            for place, o in zip(places, orthogonalised(stack, self.dtype), strict=True):
                weight[place].mul_(1 - rate * self.weight_decay).view(rows, columns).sub_(o, alpha=scale)
