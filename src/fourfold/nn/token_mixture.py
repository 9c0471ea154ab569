"""Mixtures of Gaussians and categories over the tokens of a row: the classical models of few rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from fourfold.baselines.frame import Frame, RowParts
from fourfold.baselines.mixtures import ClassGaussians, KernelDensity, MixedGaussians, Mixture, ProductMixture
from fourfold.nn.row_mixture import RowModel

__all__ = [
    "TokenClasses",
    "TokenCopula",
    "TokenGaussians",
    "TokenKernels",
    "TokenMixture",
    "TokenProducts",
    "TokenScores",
    "fold_of",
    "hashes",
    "score_axis",
    "value_axis",
]

FOLDS = 3
"""Parts of the rows, unless a model says how many. In training a row is predicted by what was fitted to the others."""
COMPONENTS = 16
"""Components, at most."""
KERNELS = 400
"""Kernels, at most."""
ROWS = 1000
"""Rows to which components are fitted, at most."""
SMALLEST = 1e-9
"""The least mass of a token in a component."""
NARROWEST = 1e-3
"""The least distance of neighbouring places, in standard deviations of a column."""
CHUNK = 1 << 22
"""Numbers of an array of rows by components by pairs of columns, at most."""


@final
class _TokenFrame(Frame):
    """Rows of tokens as categories and as places of ordered tokens on an axis. A gap has no place."""

    def __init__(
        self, sizes: Sequence[int], ordered: Sequence[int], missing: Collection[int], places: Tensor, target: int
    ) -> None:
        self.ordered, self.places = list(ordered), places[list(ordered)].double()
        self.sizes = tuple(1 + (i in missing) if i in ordered else size for i, size in enumerate(sizes))
        self.target = target if target >= 0 else None
        self.last = torch.tensor([sizes[i] - (i in missing) for i in ordered], dtype=torch.long)
        end = torch.full((len(self.ordered),), torch.inf, dtype=torch.float64)
        super().__init__(torch.zeros(1, len(self.ordered), dtype=torch.float64), 0.0, -end, end)
        apart = [row[:last].diff() for row, last in zip(self.places, self.last.tolist(), strict=True)]
        step = [float(d.median()) if len(d) else 1.0 for d in apart]
        self.step = torch.tensor(step, dtype=torch.float64).clamp(min=NARROWEST)

    def parts(self, x: Tensor) -> RowParts:
        gap, tokens = x[:, self.ordered] >= self.last, x.clone()
        tokens[:, self.ordered] = gap.long()
        values = self.places.gather(1, x[:, self.ordered].T).T
        return RowParts(tokens, values.masked_fill(gap, torch.nan))

    def raw(self, parts: RowParts) -> Tensor:
        """Rows of tokens have no raw form here.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("rows of tokens are decoded by their codec: draw tokens by their masses")


class TokenMixture(RowModel):
    """``p(x_i | x_<i) = sum_k r_k(x_<i) p_k(x_i | x_<i)``: components of Gaussians, on an axis for each ordered column.

    A category and a gap have masses of their own in each component. An ordered token ``t`` lies at a place ``y_t`` and
    between two edges, and has the mass of the component's Gaussian between these, given the places of earlier tokens:

        p_k(t | y_<i) = Phi((h_t - m) / s) - Phi((l_t - m) / s),    m, s: of the Gaussian given y_<i

    A gap lies where it is expected. So masses of a column add up to 1, whatever the others are. Subclasses say how
    components are fitted, and on which axis.

    Args:
        sizes: tokens of each column.
        ordered: the columns whose tokens are ordered.
        missing: the columns whose last token is "missing".
        order: the columns in the order of the chain rule.
        folds: parts of the rows, each of which is left out once.
        target: a column of categories, each of which may have a component. -1: none.
    """

    family: ClassVar[type[Mixture]]
    on_scores: ClassVar[bool] = False
    """Whether places are normal scores. Else they are values."""
    is_diagonal: ClassVar[bool] = False
    """Whether the quantities of a component are independent."""
    most: ClassVar[int] = COMPONENTS
    rows: ClassVar[int] = ROWS
    log_weight: Tensor
    mean: Tensor
    root: Tensor
    log_mass: Tensor
    place: Tensor
    edge: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        ordered: Sequence[int],
        missing: Collection[int],
        order: Sequence[int],
        folds: int = FOLDS,
        target: int = -1,
    ) -> None:
        super().__init__()
        self.sizes, self.ordered, self.missing, self.order = tuple(sizes), tuple(ordered), tuple(missing), tuple(order)
        self.target, self.quantities = target, [i for i in order if i in set(ordered)]
        self.folds, count, q, most = folds, len(sizes), len(ordered), max(sizes)
        flat = [1 + (i in missing) if i in ordered else size for i, size in enumerate(sizes)]
        first = torch.full((folds + 1, self.most), -torch.inf)
        self.register_buffer("log_weight", first.index_fill(1, torch.tensor(0), 0))
        self.register_buffer("mean", torch.zeros(folds + 1, self.most, q))
        one = torch.ones(q) if self.is_diagonal else torch.eye(q)
        self.register_buffer("root", one.repeat(folds + 1, self.most, *(1,) * one.ndim))
        even = torch.stack([(torch.arange(max(flat)) < size) / size for size in flat]).clamp(min=SMALLEST).log()
        self.register_buffer("log_mass", even.repeat(folds + 1, self.most, 1, 1))
        self.register_buffer("place", torch.zeros(count, most))
        last = torch.tensor([size - (i in missing) for i, size in enumerate(sizes)]).unsqueeze(1)
        self.register_buffer("edge", torch.special.ndtri((torch.arange(most + 1) / last).clamp(max=1)))

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor | None, masses: Tensor, edges: Tensor) -> None:
        """Fit the components to tokens ``(N, C)``, all and those outside of each fold."""
        axis = score_axis(x, self.sizes, self.missing, masses) if self.on_scores else self._values(x, edges)
        self.place.copy_(axis[0])
        self.edge.copy_(axis[1])
        frame = _TokenFrame(self.sizes, self.ordered, self.missing, axis[0], self.target)
        rows = x[:: -(-len(x) // self.rows)]
        self.log_weight.fill_(-torch.inf)
        columns = [self.ordered.index(i) for i in self.quantities]
        fits = self.family.folded(frame, frame.parts(rows), fold_of(rows, self.folds), self.folds)
        for f, components in enumerate(fits):
            k = len(components.weights)
            self.log_weight[f, :k] = components.weights.log()
            self.mean[f, :k] = components.means[:, columns].float()
            covariances = components.covariances()[:, columns][:, :, columns]
            scales = covariances.diagonal(dim1=1, dim2=2).sqrt()
            self.root[f, :k] = scales if self.is_diagonal else torch.linalg.cholesky(covariances)
            for i, table in enumerate(components.tables):
                self.log_mass[f, :k, i, : table.shape[1]] = table.clamp(min=SMALLEST).log()

    def _values(self, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        return value_axis(x, self.sizes, self.ordered, self.missing, edges)

    def score(self, x: Tensor, cond: Tensor | None = None, left_out: bool = False) -> Tensor:
        if not left_out:
            return self._by_fit(x, self.folds)
        fold, result = fold_of(x, self.folds), self.mean.new_zeros(x.shape)
        for f in torch.unique(fold).tolist():
            rows = (fold == f).nonzero().flatten()
            result[rows] = self._by_fit(x[rows], f)
        return result

    def _by_fit(self, x: Tensor, f: int) -> Tensor:
        order = torch.tensor(self.order, device=x.device)
        terms = self._terms(x, torch.ones_like(x, dtype=torch.bool), f)[0][:, order]
        terms[:, 0] += self._log_weight(f)
        total = terms.cumsum(1).logsumexp(2)
        return torch.cat([total[:, :1], total.diff(dim=1)], 1)[:, order.argsort()]

    def next(self, x: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        earlier = torch.zeros_like(x, dtype=torch.bool)
        earlier[:, list(self.order[: self.order.index(column)])] = True
        terms, mean = self._terms(x, earlier, self.folds)
        share = (terms.sum(1) + self._log_weight(self.folds)).log_softmax(1)
        tokens = torch.arange(self.sizes[column], device=x.device)
        log_mass = self.log_mass[self.folds, : share.shape[1], column]
        if column not in self.quantities:
            return (share.unsqueeze(2) + log_mass[:, : len(tokens)]).logsumexp(1)
        j = self.quantities.index(column)
        log_masses = self._of_tokens(
            column, tokens.expand(len(x), -1), mean[:, :, j], self._scales(self.folds)[:, j], self.folds
        )
        return (share.unsqueeze(2) + log_masses).logsumexp(1)

    def evidence(self, x: Tensor, observed_mask: Tensor, cond: Tensor | None = None) -> Tensor:
        return (self._terms(x, observed_mask, self.folds)[0].sum(1) + self._log_weight(self.folds)).logsumexp(1)

    def _terms(self, x: Tensor, observed_mask: Tensor, f: int) -> tuple[Tensor, Tensor]:
        """``log p_k(x_i | x_<i)``, ``(B, C, K)``, 0 where not observed, and means of quantities, ``(B, K, Q)``.

        The means are those given the observed quantities before each.
        """
        q, terms = torch.tensor(self.quantities, dtype=torch.long, device=x.device), self._flat_terms(x, f)
        gap = x[:, q] >= self._last()[q]
        mean = self._means(self.place[q, x[:, q]], observed_mask[:, q] & ~gap, f)
        low, high = (
            torch.special.ndtr((self.edge[q, x[:, q] + side].unsqueeze(1) - mean) / self._scales(f)) for side in (0, 1)
        )
        inside = (high - low).clamp(min=SMALLEST).log().transpose(1, 2)
        terms[:, q] += torch.where(gap.unsqueeze(2), 0.0, inside)
        return torch.where(observed_mask.unsqueeze(2), terms, 0.0), mean

    def _flat_terms(self, x: Tensor, f: int) -> Tensor:
        """``log p_k`` of categories and of gaps, ``(B, C, K)``."""
        token, q = x.clone(), self.quantities
        token[:, q] = (x[:, q] >= self._last()[q]).long()
        columns = torch.arange(x.shape[1], device=x.device)
        return self.log_mass[f, : len(self._log_weight(f))].permute(1, 2, 0)[columns, token]

    def _means(self, place: Tensor, present: Tensor, f: int) -> Tensor:
        """Means of quantities given those before them that are present, ``(B, K, Q)``: others lie at their means."""
        k = len(self._log_weight(f))
        base, root = self.mean[f, :k], self.root[f, :k]
        mean = base.expand(len(place), -1, -1).clone()
        if self.is_diagonal:
            return mean
        e = torch.zeros_like(mean)
        for j in range(mean.shape[2]):
            mean[:, :, j] += (e[:, :, :j] * root[:, j, :j]).sum(2)
            error = (place[:, j, None] - mean[:, :, j]) / root[:, j, j]
            e[:, :, j] = torch.where(present[:, j, None], error, 0.0)
        return mean

    def _log_weight(self, f: int) -> Tensor:
        """Of the components of a fit."""
        return self.log_weight[f, : int(torch.isfinite(self.log_weight[f]).sum())]

    def _scales(self, f: int) -> Tensor:
        """Of quantities given those before them, ``(K, Q)``."""
        root = self.root[f, : len(self._log_weight(f))]
        return root if self.is_diagonal else root.diagonal(dim1=1, dim2=2)

    def _last(self) -> Tensor:
        """The number of tokens of each column that are no gap."""
        return torch.tensor([k - (i in self.missing) for i, k in enumerate(self.sizes)], device=self.place.device)

    def _of_tokens(self, i: int, token: Tensor, mean: Tensor, scale: Tensor, f: int) -> Tensor:
        """``log p_k`` of tokens ``(B, T)`` of an ordered column, by Gaussians ``(B, K)``: ``(B, K, T)``."""
        low, high = (
            torch.special.ndtr((self.edge[i, token + k].unsqueeze(1) - mean.unsqueeze(2)) / scale.unsqueeze(-1))
            for k in (0, 1)
        )
        log_mass = self.log_mass[f, : mean.shape[1], i, :, None]
        inside = (high - low).clamp(min=SMALLEST).log() + log_mass[:, 0]
        gap = token >= self.sizes[i] - (i in self.missing)
        return torch.where(gap.unsqueeze(1), log_mass[:, 1], inside) if i in self.missing else inside

    @torch.no_grad()
    def conditional(self, x: Tensor, observed_mask: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        """``log p(x_i | x_S)`` of each token of a column, ``(B, sizes[column])``, for sets ``S``, bool ``(B, C)``."""
        width = 1 if self.is_diagonal else (len(self.ordered) + 1) ** 2
        rows = max(1, CHUNK // (self.most * width))
        pairs = zip(torch.split(x, rows), torch.split(observed_mask, rows), strict=True)
        return torch.cat([self._conditional(part, mask, column) for part, mask in pairs])

    def _conditional(self, x: Tensor, observed_mask: Tensor, column: int) -> Tensor:
        tokens, k = torch.arange(self.sizes[column], device=x.device), len(self._log_weight(self.folds))
        nats = torch.where(observed_mask.unsqueeze(2), self._flat_terms(x, self.folds), 0.0).sum(1)
        mean, scale, density = self._regressed(x, observed_mask, column)
        share = (nats + density + self._log_weight(self.folds)).log_softmax(1)
        if column in self.quantities:
            log_masses = self._of_tokens(column, tokens.expand(len(x), -1), mean, scale, self.folds)
        else:
            log_masses = self.log_mass[self.folds, :k, column, : len(tokens)].expand(len(x), -1, -1)
        return (share.unsqueeze(2) + log_masses).logsumexp(1)

    def _regressed(self, x: Tensor, observed_mask: Tensor, column: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and scale of a column given observed quantities, and the log-density of these, ``(B, K)`` each."""
        q, k = torch.tensor(self.quantities, dtype=torch.long, device=x.device), len(self._log_weight(self.folds))
        means, roots = self.mean[self.folds, :k], self.root[self.folds, :k]
        present = observed_mask[:, q] & (x[:, q] < self._last()[q])
        d = torch.where(present.unsqueeze(1), self.place[q, x[:, q]].unsqueeze(1) - means, 0.0)
        j = self.quantities.index(column) if column in self.quantities else -1
        if self.is_diagonal:
            density = torch.where(present.unsqueeze(1), -(d / roots).square() / 2 - roots.log(), 0.0).sum(2)
            return (means[:, j].expand_as(density), roots[:, j], density) if j >= 0 else (density, density, density)
        covariance, mask = roots @ roots.mT, present.unsqueeze(2) & present.unsqueeze(1)
        root = torch.linalg.cholesky(torch.where(mask.unsqueeze(1), covariance, torch.eye(len(q), device=x.device)))
        cross = torch.where(present.unsqueeze(1), covariance[:, j], 0.0) if len(q) else d
        e, a = torch.linalg.solve_triangular(root, torch.stack([d, cross], 3), upper=False).unbind(3)
        density = -e.square().sum(2) / 2 - root.diagonal(dim1=2, dim2=3).log().sum(2)
        if j < 0:
            return density, density, density
        variance = (covariance[:, j, j] - a.square().sum(2)).clamp(min=1e-6)
        return means[:, j] + (a * e).sum(2), variance.sqrt(), density


@final
class TokenGaussians(TokenMixture):
    """Gaussians on values, by EM."""

    noun = "Gaussians"
    family = MixedGaussians


@final
class TokenScores(TokenMixture):
    """Gaussians on normal scores, by EM."""

    noun = "Gaussians on normal scores"
    family = MixedGaussians
    on_scores = True


@final
class TokenCopula(TokenMixture):
    """One Gaussian on normal scores of all columns: a Gaussian copula of tokens, in which categories are ordered."""

    noun = "a Gaussian copula"
    family = ClassGaussians
    on_scores = True
    most = 1


@final
class TokenClasses(TokenMixture):
    """A Gaussian for each category of the target, with shrunk covariances."""

    noun = "a Gaussian for each class"
    family = ClassGaussians


@final
class TokenProducts(TokenMixture):
    """Components of independent columns, by EM."""

    noun = "groups of independent columns"
    family = ProductMixture
    is_diagonal = True


@final
class TokenKernels(TokenMixture):
    """A kernel at each row."""

    noun = "kernels at rows"
    family = KernelDensity
    is_diagonal = True
    most = KERNELS
    rows = KERNELS


def score_axis(x: Tensor, sizes: Sequence[int], missing: Collection[int], masses: Tensor) -> tuple[Tensor, Tensor]:
    """Normal scores of the tokens of each column ``(C, most)``, and of the ends of their intervals ``(C, most + 1)``.

    Args:
        x: tokens ``(N, C)``.
        sizes: tokens of each column.
        missing: the columns whose last token is "missing". It has the score 0.
        masses: of the tokens of each column ``(C, most)``. Where they are 0, tokens are counted.
    """
    scores, edges = torch.zeros(len(sizes), max(sizes)), torch.full((len(sizes), max(sizes) + 1), torch.inf)
    for i, size in enumerate(sizes):
        last = size - (i in missing)
        counts = torch.bincount(x[:, i], minlength=size)[:last].double()
        counts = (len(x) * masses[i, :last].double() if float(masses[i].sum()) > 0 else counts) + 0.5 / last
        below = counts.cumsum(0) / counts.sum()
        middle = below - counts / 2 / counts.sum()
        scores[i, :last] = torch.special.ndtri(middle.clamp(1e-4, 1 - 1e-4)).float()
        edges[i, :last] = torch.special.ndtri(below.roll(1)).float()
        edges[i, 0] = -torch.inf
    return scores, edges


def value_axis(
    x: Tensor, sizes: Sequence[int], ordered: Sequence[int], missing: Collection[int], edges: Tensor
) -> tuple[Tensor, Tensor]:
    """Places of ordered tokens and their edges, in values of mean 0 and variance 1: shapes of :func:`score_axis`."""
    edges = edges.clone()
    places = (edges[:, 1:] + edges[:, :-1]) / 2
    for i in ordered:
        last = sizes[i] - (i in missing)
        values = places[i, x[x[:, i] < last, i]]
        centre, scale = (
            (values.mean(), values.std(correction=0)) if len(values) else (places[i, 0], edges.new_zeros(()))
        )
        scale = torch.where(scale > 0, scale, 1.0)
        places[i], edges[i] = (places[i] - centre) / scale, (edges[i] - centre) / scale
        edges[i, 0], edges[i, last:] = -torch.inf, torch.inf
    return places.float(), edges.float()


def fold_of(x: Tensor, folds: int) -> Tensor:
    """The part of each row by which models leave it out, ``(N,)``: a function of the row alone."""
    return hashes(x, 1)[:, 0] % folds


def hashes(x: Tensor, count: int) -> Tensor:
    """Numbers ``(N, count)`` of tokens ``(N, C)`` that look random, and are the same for equal rows."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(1, 1 << 20, (count, x.shape[1]), generator=generator).to(x.device)
    mixed = ((x + 1).unsqueeze(1) * factors).sum(2)
    mixed = (mixed ^ (mixed >> 7)) * 2654435761 % (1 << 32)
    return mixed >> 8
