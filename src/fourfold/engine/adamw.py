"""AdamW on slices of one flat tensor.

``torch.optim.AdamW`` calls the same fused operation, but constructing it loads the compiler of torch, which costs
every process two seconds of processor time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

__all__ = ["AdamW"]


@final
class AdamW:
    """``m <- b_1 m + (1 - b_1) g``, ``v <- b_2 v + (1 - b_2) g^2``, ``W <- (1 - r l) W - r m' / (sqrt(v') + 1e-8)``.

    ``m'`` and ``v'`` are ``m`` and ``v`` over ``1 - b^step``. Loshchilov, Hutter 2019
    (https://arxiv.org/abs/1711.05101).

    Args:
        flat, gradient: the tensors whose slices are trained, and their gradients.
        groups: slices, and their decoupled weight decay ``l``.
        betas: ``b_1, b_2``.
    """

    def __init__(
        self,
        flat: Tensor,
        gradient: Tensor,
        groups: Sequence[tuple[Sequence[slice], float]],
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        self.betas = betas
        self.groups = [([(flat[run], gradient[run]) for run in runs], decay) for runs, decay in groups if runs]
        places = [place for group, _ in self.groups for place in group]
        self.steps = [torch.zeros((), device=flat.device) for _ in places]
        self.means, self.squares = ([torch.zeros_like(weight) for weight, _ in places] for _ in range(2))

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update with a learning rate ``r``."""
        if self.steps:
            torch._foreach_add_(self.steps, 1)
        first = 0
        for group, decay in self.groups:
            part = slice(first, first := first + len(group))
            torch._fused_adamw_(
                [weight for weight, _ in group],
                [g for _, g in group],
                self.means[part],
                self.squares[part],
                [],
                self.steps[part],
                lr=rate,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """The state by name: for each slice ``step``, ``exp_avg`` (m) and ``exp_avg_sq`` (v)."""
        parts = {"step": self.steps, "exp_avg": self.means, "exp_avg_sq": self.squares}
        return {f"{i}.{name}": value for name, values in parts.items() for i, value in enumerate(values)}
