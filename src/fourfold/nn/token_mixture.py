"""Mixtures of Gaussians and categories over the tokens of a row: the classical models of few rows, beside trees."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from fourfold.baselines.frame import Frame, RowParts
from fourfold.baselines.mixtures import MixedGaussians

__all__ = ["FOLDS", "TokenMixture"]

FOLDS = 3
"""Parts of the rows. In training a row is predicted by components that were fitted to the other parts."""
MOST = 16
"""Components, at most."""
ROWS = 1000
"""Rows to which components are fitted, at most."""
SMALLEST = 1e-9
"""The least mass of a token in a component."""
CHUNK = 1 << 22
"""Numbers of an array of rows by components by pairs of columns, at most."""


class _State(NamedTuple):
    """Rows up to a column: ``log w_k p_k(x_<i)``, ``(B, K)``, and the errors of their quantities, ``(B, K, j)``."""

    log_joint: Tensor
    e: Tensor


@final
class _TokenFrame(Frame):
    """Rows of tokens as categories and as places of ordered tokens on an axis. A gap has no place."""

    def __init__(self, sizes: Sequence[int], ordered: Sequence[int], missing: Collection[int], places: Tensor) -> None:
        self.ordered, self.places = list(ordered), places[list(ordered)].double()
        self.sizes = tuple(1 + (i in missing) if i in ordered else size for i, size in enumerate(sizes))
        self.last = torch.tensor([sizes[i] - (i in missing) for i in ordered], dtype=torch.long)
        end = torch.full((len(self.ordered),), torch.inf, dtype=torch.float64)
        super().__init__(torch.zeros(1, len(self.ordered), dtype=torch.float64), 0.0, -end, end)

    def parts(self, x: Tensor) -> RowParts:
        gap, tokens = x[:, self.ordered] >= self.last, x.clone()
        tokens[:, self.ordered] = gap.long()
        values = self.places.gather(1, x[:, self.ordered].T).T
        return RowParts(tokens, values.masked_fill(gap, torch.nan))

    def raw(self, parts: RowParts) -> Tensor:
        """Rows of tokens: an ordered one is that whose place is nearest."""
        inside = torch.arange(self.places.shape[1]) < self.last.unsqueeze(1)
        places = self.places.masked_fill(~inside, torch.inf)
        nearest = (parts.values.T.unsqueeze(2) - places.unsqueeze(1)).abs().argmin(2).T
        x = parts.tokens.clone()
        x[:, self.ordered] = torch.where(x[:, self.ordered] > 0, self.last, nearest)
        return x


@final
class TokenMixture(nn.Module):
    """``p(x_i | x_<i) = sum_k r_k(x_<i) p_k(x_i | x_<i)``: components of Gaussians, on an axis for each ordered column.

    A category and a gap have masses of their own in each component. An ordered token ``t`` lies at a place ``y_t`` and
    between two edges, and has the mass of the component's Gaussian between these, given the places of earlier tokens:

        p_k(t | y_<i) = Phi((h_t - m) / s) - Phi((l_t - m) / s),    m, s: of the Gaussian given y_<i

    A gap lies where it is expected. So masses of a column add up to 1, whatever the others are.

    Args:
        sizes: tokens of each column.
        ordered: the columns whose tokens are ordered.
        missing: the columns whose last token is "missing".
        order: the columns in the order of the chain rule.
    """

    log_weight: Tensor
    mean: Tensor
    root: Tensor
    log_mass: Tensor
    place: Tensor
    edge: Tensor

    def __init__(
        self, sizes: Sequence[int], ordered: Sequence[int], missing: Collection[int], order: Sequence[int]
    ) -> None:
        super().__init__()
        self.sizes, self.ordered, self.missing, self.order = tuple(sizes), tuple(ordered), tuple(missing), tuple(order)
        self.quantities = [i for i in order if i in set(ordered)]
        count, q, most = len(sizes), len(ordered), max(sizes)
        flat = [1 + (i in missing) if i in ordered else size for i, size in enumerate(sizes)]
        self.register_buffer("log_weight", torch.full((FOLDS + 1, MOST), -torch.inf).index_fill(1, torch.tensor(0), 0))
        self.register_buffer("mean", torch.zeros(FOLDS + 1, MOST, q))
        self.register_buffer("root", torch.eye(q).repeat(FOLDS + 1, MOST, 1, 1))
        even = torch.stack([(torch.arange(max(flat)) < size) / size for size in flat]).clamp(min=SMALLEST).log()
        self.register_buffer("log_mass", even.repeat(FOLDS + 1, MOST, 1, 1))
        self.register_buffer("place", torch.zeros(count, most))
        last = torch.tensor([size - (i in missing) for i, size in enumerate(sizes)]).unsqueeze(1)
        self.register_buffer("edge", torch.special.ndtri((torch.arange(most + 1) / last).clamp(max=1)))

    @torch.no_grad()
    def fit(self, x: Tensor, place: Tensor, edge: Tensor, fold: Tensor) -> None:
        """Fit the components to tokens ``(N, C)``, all and those outside of each fold ``(N,)``.

        Args:
            x: tokens.
            place: of each ordered token, ``(C, most)``.
            edge: the edges of the tokens, ``(C, most + 1)``, infinite at both ends of a column.
            fold: the part of each row, below :data:`FOLDS`.
        """
        self.place.copy_(place)
        self.edge.copy_(edge)
        frame = _TokenFrame(self.sizes, self.ordered, self.missing, place)
        every = slice(None, None, -(-len(x) // ROWS))
        fitted = MixedGaussians.folded(frame, frame.parts(x[every]), fold[every], FOLDS)
        self.log_weight.fill_(-torch.inf)
        columns = [self.ordered.index(i) for i in self.quantities]
        for f, components in enumerate(fitted):
            k = len(components.weights)
            self.log_weight[f, :k] = components.weights.log()
            self.mean[f, :k] = components.means[:, columns].float()
            covariances = components.covariances()[:, columns][:, :, columns]
            self.root[f, :k] = torch.linalg.cholesky(covariances).float()
            for i, table in enumerate(components.tables):
                self.log_mass[f, :k, i, : table.shape[1]] = table.clamp(min=SMALLEST).log()

    def forward(self, x: Tensor, fold: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_<i)`` of tokens ``(B, C)``, ``(B, C)``. With folds, by components of the other rows."""
        if fold is None:
            return self._by_fit(x, FOLDS)
        result = self.mean.new_zeros(x.shape)
        for f in range(FOLDS):
            rows = (fold == f).nonzero().flatten()
            result[rows] = self._by_fit(x[rows], f)
        return result

    def _by_fit(self, x: Tensor, f: int) -> Tensor:
        states = self._states(x, f, len(self.order))
        total = torch.stack([state.log_joint.logsumexp(1) for state in states], 1)
        return total.diff(dim=1)[:, torch.tensor(self.order, device=x.device).argsort()]

    def next(self, x: Tensor, column: int) -> Tensor:
        """``log p(x_i | x_<i)`` of each token of a column, ``(B, sizes[column])``."""
        state = self._states(x, FOLDS, self.order.index(column))[-1]
        every = torch.arange(self.sizes[column], device=x.device).expand(len(x), -1)
        log_joint = state.log_joint.unsqueeze(2) + self._log_masses(state, column, every, FOLDS)
        return log_joint.logsumexp(1) - state.log_joint.logsumexp(1, keepdim=True)

    def _states(self, x: Tensor, f: int, count: int) -> list[_State]:
        """The states before and after each of the first ``count`` columns of the order."""
        k = self._count(f)
        state = _State(self.log_weight[f, :k].expand(len(x), -1), self.mean.new_zeros(len(x), k, 0))
        states = [state]
        for i in self.order[:count]:
            state = self._after(state, i, x[:, i], f)
            states.append(state)
        return states

    def _after(self, state: _State, i: int, token: Tensor, f: int) -> _State:
        log_joint = state.log_joint + self._log_masses(state, i, token.unsqueeze(1), f)[:, :, 0]
        if i not in self.quantities:
            return _State(log_joint, state.e)
        mean, scale = self._moments(state, f)
        error = torch.where(self._gap(i, token)[:, None], 0.0, (self.place[i, token, None] - mean) / scale)
        return _State(log_joint, torch.cat([state.e, error.unsqueeze(2)], 2))

    def _count(self, f: int) -> int:
        """The number of components of a fit."""
        return int(torch.isfinite(self.log_weight[f]).sum())

    def _log_masses(self, state: _State, i: int, token: Tensor, f: int) -> Tensor:
        """``log p_k`` of tokens ``(B, T)`` of the next column, ``(B, K, T)``."""
        if i in self.quantities:
            return self._of_tokens(i, token, *self._moments(state, f), f)
        return self.log_mass[f, : self._count(f), i][:, token].transpose(0, 1)

    def _moments(self, state: _State, f: int) -> tuple[Tensor, Tensor]:
        """Mean ``(B, K)`` and scale ``(K,)`` of the next quantity given the errors of those before it."""
        j, k = state.e.shape[2], self._count(f)
        return self.mean[f, :k, j] + (state.e * self.root[f, :k, j, :j]).sum(2), self.root[f, :k, j, j]

    def _gap(self, i: int, token: Tensor) -> Tensor:
        return token >= self.sizes[i] - (i in self.missing)

    def _of_tokens(self, i: int, token: Tensor, mean: Tensor, scale: Tensor, f: int) -> Tensor:
        """``log p_k`` of tokens ``(B, T)`` of an ordered column, by Gaussians ``(B, K)``: ``(B, K, T)``."""
        low, high = (
            torch.special.ndtr((self.edge[i, token + k].unsqueeze(1) - mean.unsqueeze(2)) / scale.unsqueeze(-1))
            for k in (0, 1)
        )
        log_mass = self.log_mass[f, : mean.shape[1], i, :, None]
        inside = (high - low).clamp(min=SMALLEST).log() + log_mass[:, 0]
        return torch.where(self._gap(i, token).unsqueeze(1), log_mass[:, 1], inside) if i in self.missing else inside

    @torch.no_grad()
    def conditional(self, x: Tensor, observed_mask: Tensor, column: int) -> Tensor:
        """``log p(x_i | x_S)`` of each token of a column, ``(B, sizes[column])``, for sets ``S``, bool ``(B, C)``."""
        rows = max(1, CHUNK // (MOST * (len(self.ordered) + 1) ** 2))
        pairs = zip(torch.split(x, rows), torch.split(observed_mask, rows), strict=True)
        return torch.cat([self._conditional(part, mask, column) for part, mask in pairs])

    def _conditional(self, x: Tensor, observed_mask: Tensor, column: int) -> Tensor:
        k = self._count(FOLDS)
        nats, log_mass = self.log_weight[FOLDS, :k].expand(len(x), -1), self.log_mass[FOLDS, :k]
        for i in range(x.shape[1]):
            token = self._gap(i, x[:, i]).long() if i in self.quantities else x[:, i]
            nats = nats + torch.where(observed_mask[:, i, None], log_mass[:, i].T[token], 0.0)
        tokens = torch.arange(self.sizes[column], device=x.device)
        mean, scale, density = self._regressed(x, observed_mask, column)
        if column in self.quantities:
            log_masses = self._of_tokens(column, tokens.expand(len(x), -1), mean, scale, FOLDS)
        else:
            log_masses = log_mass[:, column, : self.sizes[column]].expand(len(x), -1, -1)
        return ((nats + density).log_softmax(1).unsqueeze(2) + log_masses).logsumexp(1)

    def _regressed(self, x: Tensor, observed_mask: Tensor, column: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and scale of a column given observed quantities, and the log-density of these, ``(B, K)`` each."""
        q, k = self.quantities, self._count(FOLDS)
        means, roots = self.mean[FOLDS, :k], self.root[FOLDS, :k]
        present = torch.zeros(len(x), len(q), dtype=torch.bool, device=x.device)
        values = means.new_zeros(len(x), len(q))
        for j, i in enumerate(q):
            present[:, j], values[:, j] = observed_mask[:, i] & ~self._gap(i, x[:, i]), self.place[i, x[:, i]]
        covariance, mask = roots @ roots.mT, present.unsqueeze(2) & present.unsqueeze(1)
        root = torch.linalg.cholesky(torch.where(mask.unsqueeze(1), covariance, torch.eye(len(q), device=x.device)))
        d = torch.where(present.unsqueeze(1), values.unsqueeze(1) - means, 0.0)
        j = q.index(column) if column in q else -1
        cross = torch.where(present.unsqueeze(1), covariance[:, j], 0.0) if q else d
        e, a = torch.linalg.solve_triangular(root, torch.stack([d, cross], 3), upper=False).unbind(3)
        density = -e.square().sum(2) / 2 - root.diagonal(dim1=2, dim2=3).log().sum(2)
        if j < 0:
            return density, density, density
        variance = (covariance[:, j, j] - a.square().sum(2)).clamp(min=1e-6)
        return means[:, j] + (a * e).sum(2), variance.sqrt(), density
