"""Codes of sequences relative to the nearest observed ones of their column, in the rows before and behind.

A random walk is simple relative to the row before, wherever it stands. So the log-masses of a value's tokens have a
part that is a function of the step ``d = k - a`` from the nearest known token ``a`` of the same column:

    log p(k) = w_k · h + sum_a (c_a + V_a h) · r(k - a) + const,

with bumps of all widths ``r_m(d) = exp(-d^2 / 2 s_m^2)``, ``s_m = 1/2, 3/2, 9/2, ...``, and the same times ``d / s_m``.
With ``c_m = log 3`` and ``V = 0`` at the start, ``p(k)`` is nearly ``1 / |d|``: all orders of magnitude of steps are
alike, and the most likely value is that of the row before, as in a first-order model. Of a category ``r(d)`` tells
whether the level is the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

__all__ = ["RelativeHeads", "RelativeSteps", "bumps", "latest", "nearest", "with_gaps"]

GAPS = 4
"""Number of classes of distances in rows: 1, 2 to 3, 4 to 7, and more."""


def nearest(x: Tensor, mask: Tensor, sides: int) -> Tensor:
    """The nearest known token of each token's column in the rows before, and behind if there are two ``sides``.

    Args:
        x: tokens ``(B, T, C)``.
        mask: which tokens are observed, bool ``(B, T, C)``.
        sides: 1 or 2.

    Returns:
        The token, or -1 where there is none, and the class of its distance, int64 ``(B, T, C, sides, 2)``.
    """
    before_and_behind = [_before(x, mask)]
    if sides == 2:
        before_and_behind.append(_before(x.flip(1), mask.flip(1)).flip(1))
    return torch.stack(before_and_behind, 3)


def _before(x: Tensor, mask: Tensor) -> Tensor:
    return with_gaps(latest(x, mask), torch.arange(x.shape[1], device=x.device)[:, None])


def latest(x: Tensor, mask: Tensor) -> Tensor:
    """The last known token of each token's column in the rows before, and its row, ``(B, T, C, 2)``. -1 for none."""
    t = torch.arange(x.shape[1], device=x.device)[:, None]
    last = torch.where(mask, t, -1).cummax(1).values
    last = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], 1)
    return torch.stack([torch.where(last >= 0, x.gather(1, last.clamp(min=0)), -1), last], 3)


def with_gaps(last: Tensor, t: Tensor | int) -> Tensor:
    """Tokens with their rows, ``(..., 2)``, as tokens with the classes of their distances to row ``t``."""
    gap = (t - last[..., 1]).float().log2().long().clamp(max=GAPS - 1)
    return torch.stack([last[..., 0], gap], -1)


def bumps(tokens: int) -> Tensor:
    """Even and odd bumps of all widths of each step between ``tokens`` tokens, ``(2 tokens - 1, R)``."""
    d = torch.arange(1 - tokens, tokens)[:, None].float()
    count = max(math.ceil(math.log(2 * tokens, 3)), 1)
    z = d / (0.5 * 3.0 ** torch.arange(count))
    even = (-z.square() / 2).exp()
    return torch.cat([even, z * even], 1)


@final
class RelativeSteps(nn.Module):
    """A vector of the steps that lead to each token, of ordered columns: ``sum_a r(x - a) U_a``. 0 for the others.

    Args:
        sizes: tokens of each column.
        width: length of a vector.
        ordered: the columns whose tokens are ordered.
        sides: how many nearest tokens there are.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("matrix",)
    table: Tensor

    def __init__(self, sizes: Sequence[int], width: int, ordered: Sequence[int], sides: int) -> None:
        super().__init__()
        self.ordered, self.most = list(ordered), max((sizes[i] for i in ordered), default=1)
        self.register_buffer("table", bumps(self.most), persistent=False)
        r = self.table.shape[1]
        self.matrix = nn.Parameter(torch.randn(len(self.ordered), sides * r, width) / math.sqrt(r))

    def forward(self, x: Tensor, near: Tensor, first: int = 0) -> Tensor:
        """``(N, C)`` tokens and their nearest ones ``(N, C, sides, 2)`` to ``(N, C, width)``.

        The tokens are of the columns from ``first`` on.
        """
        inside = [j for j, i in enumerate(self.ordered) if 0 <= i - first < x.shape[1]]
        place, matrix = [self.ordered[j] - first for j in inside], self.matrix[inside]
        whole = matrix.new_zeros(*x.shape, matrix.shape[2])
        if not inside:
            return whole
        token = near[:, place, :, 0]
        d = x[:, place, None] - token
        r = self.table[(d + self.most - 1).clamp(0, 2 * self.most - 2)] * (token >= 0)[..., None]
        e = torch.einsum("ncr,crw->ncw", r.flatten(2).to(matrix.dtype), matrix)
        return whole.index_copy(1, torch.tensor(place, device=x.device), e)


@final
class RelativeHeads(nn.Module):
    """The part of the logits that steps have, ``sum_a (c_a + V_a h) · r(k - a)``, for groups of columns.

    Args:
        sizes: tokens of each column.
        groups: the columns that are computed together.
        width: length of ``h``.
        ordered: the columns whose tokens are ordered.
        missing: those of them whose last token is "missing", which no step leads to.
        sides: how many nearest tokens there are.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("bias", "weight")

    def __init__(
        self,
        sizes: Sequence[int],
        groups: Sequence[Sequence[int]],
        width: int,
        ordered: Collection[int],
        missing: Collection[int],
        sides: int,
    ) -> None:
        super().__init__()
        self.sides = sides
        self.bias, self.weight = nn.ParameterList(), nn.ParameterList()
        self.gaps: list[bool] = []
        for g, group in enumerate(groups):
            most = max(sizes[i] for i in group)
            same = torch.zeros(2 * most - 1, 1)
            same[most - 1] = 1
            table = bumps(most) if group[0] in ordered else same
            r = table.shape[1]
            bias = torch.zeros(len(group), sides, GAPS, r)
            if group[0] in ordered:
                bias[..., : r // 2] = math.log(3) / sides
            self.bias.append(nn.Parameter(bias))
            self.weight.append(nn.Parameter(torch.zeros(len(group), width, sides * r)))
            last = torch.tensor([sizes[i] - 1 if i in missing else -1 for i in group])
            self.gaps.append(any(i in missing for i in group))
            self.register_buffer(f"table_{g}", table.T.contiguous(), persistent=False)
            self.register_buffer(f"gap_{g}", (torch.arange(most) == last[:, None])[:, None], persistent=False)

    def forward(self, g: int, h: Tensor, near: Tensor, only: slice = slice(None)) -> Tensor:
        """Logits ``(k, N, tokens)`` of (some of) the ``k`` columns of a group.

        Args:
            g: number of the group.
            h: features ``(k, N, width)``.
            near: nearest tokens ``(N, k, sides, 2)``.
            only: which columns of the group.
        """
        token, gap = near.transpose(0, 1).unbind(3)
        table = getattr(self, f"table_{g}")
        bias, side = self.bias[g][only], torch.arange(self.sides, device=h.device)
        bias_at = bias[torch.arange(len(bias), device=h.device)[:, None, None], side, gap]
        c = (bias_at + torch.bmm(h, self.weight[g][only]).view(bias_at.shape)) * (token >= 0)[..., None]
        k = (table.shape[1] + 1) // 2
        curve = _windows(c @ table.to(c.dtype), k - 1 - token.clamp(min=0), k)
        curve = curve[:, :, 0] if self.sides == 1 else curve.sum(2)
        return curve.masked_fill(getattr(self, f"gap_{g}")[only], 0) if self.gaps[g] else curve


def _windows(curve: Tensor, first: Tensor, k: int) -> Tensor:
    """The ``k`` values of each curve ``(*, n)`` from ``first`` on, ``(*,)``.

    A copy of whole rows is several times as fast as a copy of values, but its gradient is not.
    """
    if torch.is_grad_enabled() or not len(first.flatten()):
        return curve.gather(-1, torch.arange(k, device=curve.device) + first[..., None])
    n, flat = curve.shape[-1], curve.contiguous().view(-1)
    start = torch.arange(first.numel(), device=curve.device) * n + first.flatten()
    return flat.unfold(0, k, 1).index_select(0, start).view(*first.shape, k)
