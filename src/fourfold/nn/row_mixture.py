"""Models of rows of tokens, and their mixtures, with weights by rows that the models left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Noise, Part
from fourfold.maths.categorical import categorical

__all__ = ["RowMixture", "RowModel"]

BLOCK = 512
"""Rows that are scored at once."""
ROUNDS = 50
"""Steps of expectation and maximisation of the weights."""
LEAST = 0.01
"""The least weight of a model. One of less is left out, since it costs time."""
JUDGED = 20_000
"""Rows that weights are set by, at most."""


class RowModel(Part, nn.Module, ABC):
    """``p(x | c)`` of rows of tokens, by the chain rule in an order of the columns.

    Attributes:
        sizes: tokens of each column.
        order: the columns in the order of the chain rule.
        noun: the model in a few words.
    """

    noun: str = ""
    sizes: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def inner(self) -> Sequence[RowModel]:
        """Models of whole rows that it is made of."""
        return ()

    @property
    def reads_condition(self) -> bool:
        """True if it depends on conditions."""
        return False

    @abstractmethod
    def fit(self, x: Tensor, cond: Tensor | None, masses: Tensor, edges: Tensor) -> None:
        """Fit it to tokens ``(N, C)`` and their conditions. Data alone decide.

        Args:
            x: tokens.
            cond: conditions ``(N, *)``.
            masses: of the ordered tokens of each column by itself, ``(C, most)``. Zeros: they are counted.
            edges: where the values of these tokens begin and end, ``(C, most + 1)``.
        """

    @abstractmethod
    def score(self, x: Tensor, cond: Tensor | None, left_out: bool) -> Tensor:
        """``log p(x_i | x_<i, c)`` of tokens ``(B, C)``, ``(B, C)``. If ``left_out``: fitted without each row."""

    @abstractmethod
    def next(self, x: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i, c)`` of each token of a column, ``(B, sizes[column])``."""

    @abstractmethod
    def conditional(self, x: Tensor, observed_mask: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        """``log q(x_i | x_S, c)`` of each token of a column, for any sets ``S``, bool ``(B, C)``: near ``p``."""

    @abstractmethod
    def evidence(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log q(x_S | c)``, ``(B,)``, near ``p``. It is ``p`` where the order begins with ``S``."""

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """:meth:`score`, where training leaves rows out."""
        return self.score(x, cond, self.training)


@final
class RowMixture(RowModel):
    """``p(x | c) = sum_k w_k p_k(x | c)`` of models ``p_k`` of the same rows, and of those that they are made of.

    A row is drawn by one of them. By the chain rule,

        p(x_i | x_<i) = sum_k r_k(x_<i) p_k(x_i | x_<i),    r_k(x_<i) ~ w_k p_k(x_<i).

    The weights are those under which rows that the models left out are likeliest: by expectation and maximisation
    first, then as parameters. So it loses to one of its models only where the rows left out misjudge it.

    Args:
        members: the models. They share sizes and order.

    Raises:
        ValueError: if they do not.

    Reference: Smyth, Wolpert 1999, Linearly Combining Density Estimators via Stacking,
    https://doi.org/10.1023/A:1007511322260
    """

    is_active: Tensor

    def __init__(self, members: Sequence[RowModel]) -> None:
        super().__init__()
        kinds = {(member.sizes, member.order) for member in members}
        if len(kinds) != 1:
            raise ValueError(f"members must have one set of sizes and one order, got {len(kinds)}")
        self.members = nn.ModuleList(members)
        self.sizes, self.order = members[0].sizes, members[0].order
        self.log_weight = nn.Parameter(torch.zeros(len(self.models)))
        self.register_buffer("is_active", torch.arange(len(self.models)) == 0)

    @property
    def models(self) -> list[RowModel]:
        """The members, each before the models that it is made of."""
        return [model for member in self.members for model in (member, *member.inner)]  # type: ignore[misc]

    @property
    def reads_condition(self) -> bool:
        return any(model.reads_condition for model in self.models)

    def active(self) -> tuple[list[RowModel], Tensor]:
        """The models that have a weight, and its logarithm."""
        chosen = self.is_active.nonzero().flatten()
        return [self.models[k] for k in chosen.tolist()], self.log_weight[chosen].log_softmax(0)

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, masses: Tensor, edges: Tensor) -> None:
        for member in self.members:
            member.fit(x, cond, masses, edges)  # type: ignore[operator]
        every = slice(None, None, -(-len(x) // JUDGED))
        nats = self._left_out(x[every], None if cond is None else cond[every])
        weight = _stacked(nats)
        active = weight >= min(LEAST, float(weight.max()))
        self.is_active.copy_(active)
        self.log_weight.zero_()[active] = _stacked(nats[:, active]).log().to(self.log_weight)

    def _left_out(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """``log p_k(x | c)`` of rows by models that left them out, ``(N, K)`` float64."""
        parts = []
        for low in range(0, len(x), BLOCK):
            rows, labels = x[low : low + BLOCK], None if cond is None else cond[low : low + BLOCK]
            parts.append(torch.stack([model.score(rows, labels, True).sum(1) for model in self.models], 1))
        return torch.cat(parts).double()

    def score(self, x: Tensor, cond: Tensor | None, left_out: bool) -> Tensor:
        models, log_weight = self.active()
        order = torch.tensor(self.order, device=x.device)
        scores = torch.stack([model.score(x, cond, left_out)[:, order] for model in models])
        total = (scores.cumsum(2) + log_weight[:, None, None]).logsumexp(0)
        steps = torch.cat([total[:, :1], total.diff(dim=1)], 1)
        return steps[:, order.argsort()]

    def next(self, x: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        earlier = torch.zeros_like(x, dtype=torch.bool)
        earlier[:, list(self.order[: self.order.index(column)])] = True
        parts = [model.next(x, column, cond) for model in self.active()[0]]
        return (torch.stack(parts) + self._shares(x, earlier, cond).unsqueeze(2)).logsumexp(0)

    def _shares(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None) -> Tensor:
        """``log r_k(x_S)``, ``(K, B)``."""
        models, log_weight = self.active()
        evidence = torch.stack([model.evidence(x, observed_mask, cond) for model in models])
        return (evidence + log_weight.unsqueeze(1)).log_softmax(0)

    def evidence(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        models, log_weight = self.active()
        evidence = torch.stack([model.evidence(x, observed_mask, cond) for model in models])
        return (evidence + log_weight.unsqueeze(1)).logsumexp(0)

    @torch.no_grad()
    def conditional(self, x: Tensor, observed_mask: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        """``log q(x_i | x_S, c)`` of each token of a column. It is ``p`` where ``S`` is ``x_<i``, or all others."""
        rest = observed_mask.clone()
        rest[:, column] = True
        whole = rest.all(1)
        nats = torch.empty(len(x), self.sizes[column], device=x.device)
        for rows, compute in ((whole, self._exactly), (~whole, self._proposed)):
            at = rows.nonzero().flatten()
            if len(at):
                nats[at] = compute(x[at], observed_mask[at], column, None if cond is None else cond[at])
        return nats

    def _proposed(self, x: Tensor, observed_mask: Tensor, column: int, cond: Tensor | None) -> Tensor:
        share = self._shares(x, observed_mask, cond)
        parts = [model.conditional(x, observed_mask, column, cond) for model in self.active()[0]]
        return (torch.stack(parts) + share.unsqueeze(2)).logsumexp(0)

    def _exactly(self, x: Tensor, observed_mask: Tensor, i: int, cond: Tensor | None) -> Tensor:
        """``log p(x_i | all other columns, c)`` of each token: rows with it are scored."""
        size, parts = self.sizes[i], []
        for low in range(0, len(x), BLOCK):
            rows = x[low : low + BLOCK].repeat_interleave(size, 0)
            rows[:, i] = torch.arange(size, device=x.device).repeat(len(rows) // size)
            labels = None if cond is None else cond[low : low + BLOCK].repeat_interleave(size, 0)
            parts.append(self.score(rows, labels, False).sum(1).view(-1, size).log_softmax(1))
        return torch.cat(parts)

    def forward(
        self, x: Tensor, cond: Tensor | None = None, column: int | None = None, of_row: Tensor | None = None
    ) -> Tensor:
        """:meth:`score`, or ``log p_k(x_i | x_<i, c)`` of each token of a column by the model ``k`` of each row."""
        if column is None or of_row is None:
            return super().forward(x, cond)
        log_p = self.log_weight.new_zeros(len(x), self.sizes[column])
        for k, model in enumerate(self.active()[0]):
            at = (of_row == k).nonzero().flatten()
            if len(at):
                log_p[at] = model.next(x[at], column, None if cond is None else cond[at])
        return log_p

    def draw(self, noise: Noise, cond: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Rows ``(B, C)``, each by one of the models: it is drawn first."""
        log_weight = self.active()[1]
        x = torch.zeros(len(noise), len(self.sizes), dtype=torch.long, device=log_weight.device)
        of_row = categorical(log_weight.expand(len(x), -1), noise.uniform())
        for i in self.order:
            x[:, i] = categorical(self(x, cond, i, of_row) / temperature, noise.uniform())
        return x


def _stacked(nats: Tensor) -> Tensor:
    """Weights ``(K,)`` under which rows of ``log p_k(x)``, ``(N, K)``, are likeliest, a row more spread over all."""
    masses = (nats - nats.amax(1, keepdim=True)).exp()
    weight = torch.full(masses.shape[1:], 1 / masses.shape[1]).double()
    for _ in range(ROUNDS):
        joint = weight * masses
        weight = ((joint / joint.sum(1, keepdim=True)).sum(0) + 1 / len(weight)) / (len(nats) + 1)
    return weight
