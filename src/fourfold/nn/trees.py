"""Trees of the columns of a table: masses of each column's tokens given the columns before it.

A tree is a set of arrays: feature, threshold and children of each node, and how many training rows of each token lie
in it. So it is saved as tensors, and a row finds its way by indexing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.machine.libraries import sklearn
from fourfold.nn.forest import DEPTH, Forest
from fourfold.nn.reading.flat import FlatNumbers
from fourfold.nn.token_mixture import FOLDS, TokenMixture

__all__ = ["ColumnTrees"]

GROWN = 20_000
"""Rows that a tree grows on, at most. All rows are counted in its nodes."""
BLOCK = 512
"""Rows that are scored at once while shares are found."""
ROUNDS = 20
"""Steps of expectation and maximisation of the shares."""
SHARE = 0.7
"""The share of the rows that a tree grows on. The others tell how well it predicts."""
SPLIT = 0.6
"""The share of the features that are tried at a node."""
HOT = 32
"""Categories of a column that are features of their own, at most. Columns of more are one ordered feature."""
LINEAR = 3
"""Linear predictions of a column that are features of its trees, at most."""
PARTS = 3 * FOLDS
"""Parts of the rows whose linear predictions are fitted without them."""
WIDEST = 128
"""Columns beside whose trees there are mixtures of whole rows, at most."""
JUDGED = 2
"""Trees of a column that predict a row in training."""
LOWEST = 0.01
"""The quantile that must be positive if a column is to have an axis of logarithms. These end at half of it."""
SCALES = 24
"""Powers of two of the rows of a node, at most."""
WIDTHS = (0.0, 1 / 48, 1 / 16, 1 / 6)
"""Widths of the kernels that smooth counts of ordered tokens, as parts of their number."""


@final
class ColumnTrees(Forest):
    """``p(x_i | x_<i, c)`` of the tokens of each column: a mixture of trees and of classical models beside them.

        p(x_i | x_<i, c) = s_1 sum_t w_t p_t + s_2 N + s_3 p_u + s_4 p_v + s_5 p_l

    ``p_t`` are trees, whose nodes smooth their leaves. ``N`` is a Gaussian about a linear prediction. ``p_u``, ``p_v``
    and ``p_l`` are mixtures of Gaussians of whole rows (:class:`~fourfold.nn.token_mixture.TokenMixture`), on an axis
    of normal scores, on one of values, and on one of logarithms, where products are sums. The shares of a column are
    parameters. So this loses to a classical model only where the rows left out misjudge it.

    A node ``v`` with ``n`` training rows, ``N(k)`` of them with token ``k`` after smoothing by kernels, has the masses

        p_v(k) = (N(k) + a p_u(k)) / (n + a),    u: the node above it; above the root: the column by itself.

    A kernel gives the row of a token ``j`` to its neighbours ``k`` by their distance and by their masses in the column
    by itself, ``K(k | j) ~ exp(-(k - j)^2 / 2 w^2) p(k)``. So a value that many rows hold is not spread over others.

    The leaf of a row gives the masses of its tree. Kernels and ``a`` depend on the column and on the size of the node.
    They are the parameters, which training by steps learns. :meth:`fit` grows the trees and counts. A tree grows on
    seven tenths of the rows. In training a row is predicted by the trees that grew without it, and it is not counted:
    else every leaf would seem certain.

    A feature of a tree is the normal score of an ordered token, whether a value is missing, whether it is one of the
    categories, a number of the condition, or a linear prediction of the tree's column. So a gap is a branch.

    Reference: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees; Reiter 2005 (synthetic rows
    by trees, https://www.scb.se/contentassets/ca21efb41fee47d293bbee5bf7be7fb3/using-cart-to-generate-partially-
    synthetic-public-use-microdata.pdf); Breiman 2001 (forests, https://doi.org/10.1023/A:1010933404324).

    Args:
        sizes: tokens of each column.
        trees: of each column.
        leaves: of each tree, at most. At least 2.
        ordered: the columns whose tokens are ordered.
        missing: the columns whose last token is "missing".
        given: of each value of a condition, the number of its categories, and 0 for a number. Empty: there is none.
        least: the fewest rows of a leaf.
        order: the columns in the order of the chain rule. By default their own.
        context: the first columns in this order, for which nothing grows: only the others are predicted.
        axes: of the mixtures, the first ones of normal scores, values and logarithms.

    Raises:
        ValueError: for fewer than two leaves, an order that does not name each column once, or no column to predict.
    """

    counts: Tensor
    scores: Tensor
    linear: Tensor
    lines: Tensor
    edges: Tensor
    line: Tensor
    root: Tensor
    kernels: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        trees: int,
        leaves: int,
        ordered: Sequence[int] = (),
        missing: Collection[int] = (),
        given: Sequence[int] = (),
        least: int = 5,
        order: Sequence[int] = (),
        context: int = 0,
        axes: int = 2,
    ) -> None:
        super().__init__(len(sizes) * trees, leaves)
        if order and sorted(order) != list(range(len(sizes))):
            raise ValueError(f"order must name each of {len(sizes)} columns once, got {tuple(order)}")
        if not 0 <= context < len(sizes):
            raise ValueError(f"context must be at least 0 and below {len(sizes)} columns, got {context}")
        self.order = tuple(order) or tuple(range(len(sizes)))
        self.sizes, self.trees, self.least, self.given, self.context = tuple(sizes), trees, least, tuple(given), context
        columns, most = len(sizes), max(sizes)
        self.columns, self.ordered, self.missing = columns, tuple(ordered), tuple(missing)
        self.places = list(self._places())
        self.register_buffer("counts", torch.zeros(columns * trees, self.nodes, most))
        self.register_buffer("scores", torch.zeros(columns, most))
        self.condition = FlatNumbers(given) if given else None
        width = 0 if self.condition is None else self.condition.width
        self.register_buffer("linear", torch.zeros(columns, LINEAR, len(self.places) + width + 1))
        self.register_buffer("lines", torch.zeros(PARTS, columns, len(self.places) + width + 1))
        self.register_buffer("root", self._uniform())
        last = torch.tensor([size - (i in self.missing) for i, size in enumerate(sizes)]).unsqueeze(1)
        even = torch.special.ndtri((torch.arange(most + 1) / last).clamp(max=1))
        self.register_buffer("edges", even)
        self.register_buffer("line", torch.tensor([1.0, 0.0]).repeat(columns, 1))
        self.register_buffer("kernels", _kernels(sizes, ordered, missing), persistent=False)
        self.log_prior = nn.Parameter(torch.full((columns, SCALES), math.log(5.0)))
        start = torch.tensor([0.0, 0.5, 1.0, 0.0]).repeat(columns, SCALES, 1)
        self.smoothing = nn.Parameter(start)
        self.weight = nn.Parameter(torch.zeros(columns, trees))
        axes = 0 if columns > WIDEST else axes if ordered else 1
        self.mixtures = nn.ModuleList(TokenMixture(sizes, ordered, missing, self.order) for _ in range(axes))
        self.shares = nn.Parameter(torch.tensor([0.0, -1.0] + [0.0] * axes).repeat(columns, 1))
        self._memory = dict[str, tuple[tuple[Tensor, ...], Tensor]]()

    @property
    def classics(self) -> list[TokenMixture]:
        """The mixtures of whole rows."""
        return [mixture for mixture in self.mixtures if isinstance(mixture, TokenMixture)]

    # --- features -----------------------------------------------------------------------------------------------------

    def _places(self) -> list[tuple[int, int]]:
        """The features of rows: a column, and the token that is asked for, or -1 for its score."""
        places = []
        for i, size in enumerate(self.sizes):
            gap = [(i, size - 1)] if i in self.missing else []
            hot = [(i, k) for k in range(size if size > 2 else 1)]
            places += [(i, -1), *gap] if i in self.ordered or size > HOT else hot
        return places

    def _features(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """The features of tokens ``(B, C)`` and of their conditions, ``(B, F)``."""
        column, token = (torch.tensor(part, device=x.device) for part in zip(*self.places, strict=True))
        values = x[:, column]
        score = self.scores[column, values]
        rows = torch.where(token < 0, score, (values == token).to(score))
        return rows if self.condition is None else torch.cat([rows, self.condition(cond, len(x))], 1)

    def _targets(self, i: int, x: Tensor) -> Tensor:
        """The numbers that the trees of a column predict, ``(N, K)``: a score and a gap, or the categories."""
        if i in self.ordered:
            gap = [(x == self.sizes[i] - 1).float()] if i in self.missing else []
            return torch.stack([self.scores[i, x], *gap], 1)
        often = torch.bincount(x, minlength=self.sizes[i]).argsort(descending=True, stable=True)[:HOT]
        return (x.unsqueeze(1) == often).float()

    # --- growing ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(
        self, x: Tensor, cond: Tensor | None = None, masses: Tensor | None = None, edges: Tensor | None = None
    ) -> None:
        """Grow the trees on tokens ``(N, C)`` and their conditions, and count in their nodes. Data alone decide.

        Args:
            x: tokens.
            cond: conditions ``(N, *)``.
            masses: of the ordered tokens of each column by itself, ``(C, most)``. ``None`` or zeros: they are counted.
            edges: where the values of these tokens begin and end, ``(C, most + 1)``. ``None``: at whole numbers.
        """
        if self.condition is not None and cond is not None:
            self.condition.fit(cond)
        self._set_scores(x, torch.zeros_like(self.root) if masses is None else masses)
        for mixture, (place, edge) in zip(self.classics, self._axes(x, edges), strict=False):
            mixture.fit(x, place, edge, self._part(x) % FOLDS)
        features, inside, part = self._features(x, cond), self._inside(x), self._part(x)
        rank = torch.tensor([self.order.index(column) for column, _ in self.places])
        for i in self.order[self.context :]:
            earlier = (rank < self.order.index(i)).nonzero().flatten()
            features_before = torch.cat([earlier, torch.arange(len(rank), features.shape[1])])
            targets = self._targets(i, x[:, i])
            self._fit_linear(i, x[:, i], features, targets, features_before, part)
            inputs = torch.cat([features[:, features_before], _with_one(features) @ self.linear[i].T], 1)
            index = torch.cat([features_before, features.shape[1] + LINEAR * i + torch.arange(LINEAR)])
            for t in range(self.trees):
                self._grow(i * self.trees + t, inputs, targets, inside[:, t], index)
        self._count(x, cond)
        self._set_shares(x, cond)

    def _set_shares(self, x: Tensor, cond: Tensor | None) -> None:
        """Shares by expectation and maximisation on rows that the models beside the trees and in them leave out."""
        every = slice(None, None, -(-len(x) // GROWN))
        x, cond = x[every], None if cond is None else cond[every]
        parts = [
            self._parts(x[i : i + BLOCK], None if cond is None else cond[i : i + BLOCK], True)
            for i in range(0, len(x), BLOCK)
        ]
        masses, share = torch.cat(parts), torch.full_like(self.shares, 1 / self.shares.shape[1])
        for _ in range(ROUNDS):
            joint = share * masses
            share = ((joint / joint.sum(2, keepdim=True)).sum(0) + 1) / (len(x) + joint.shape[2])
        self.shares.copy_(share.log())

    def _set_scores(self, x: Tensor, masses: Tensor) -> None:
        """Normal scores of ordered tokens and of the ends of their intervals. A gap has 0: another feature tells it."""
        self.root.copy_(self._uniform())
        for i, size in enumerate(self.sizes):
            last = size - (i in self.missing)
            counts = torch.bincount(x[:, i], minlength=size)[:last].double() + 0.5 / last
            if float(masses[i].sum()) > 0:
                counts = len(x) * masses[i, :last].double() + 0.5 / last
                self.root[i, :last] *= (last * counts / counts.sum()).float()
            below = counts.cumsum(0) / counts.sum()
            middle = below - counts / 2 / counts.sum()
            self.scores[i].zero_()[:last] = torch.special.ndtri(middle.clamp(1e-4, 1 - 1e-4)).float()
            self.edges[i].fill_(torch.inf)[:last] = torch.special.ndtri(below.roll(1)).float()
            self.edges[i, 0] = -torch.inf
            self.line[i] = torch.tensor([1.0, float((x[:, i] >= last).float().mean())])

    def _axes(self, x: Tensor, edges: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Places and edges of ordered tokens: normal scores, values and logarithms, these of mean 0 and variance 1."""
        edges = torch.arange(self.edges.shape[1]).double().repeat(self.columns, 1) if edges is None else edges
        places = (edges[:, 1:] + edges[:, :-1]) / 2
        least = torch.zeros(self.columns, 1, dtype=torch.float64)
        for i in self.ordered:
            present = x[x[:, i] < self.sizes[i] - (i in self.missing), i]
            least[i] = places[i, present].quantile(LOWEST) if len(present) else 0.0
        logs = [torch.where(least > 0, v.maximum(least / 2).log(), v) for v in (places, edges)]
        axes = [self._standard(x, *axis) for axis in ((places, edges), logs)]
        return [(self.scores, self.edges), *axes]

    def _standard(self, x: Tensor, places: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Places and edges of which the ordered tokens of each column have mean 0 and variance 1."""
        places, edges = places.clone(), edges.clone()
        for i in self.ordered:
            last = self.sizes[i] - (i in self.missing)
            values = places[i, x[x[:, i] < last, i]]
            centre, scale = (
                (values.mean(), values.std(correction=0)) if len(values) else (places[i, 0], places.new_zeros(()))
            )
            scale = torch.where(scale > 0, scale, 1.0)
            places[i], edges[i] = (places[i] - centre) / scale, (edges[i] - centre) / scale
            edges[i, 0], edges[i, last:] = -torch.inf, torch.inf
        return places.float(), edges.float()

    def _fit_linear(
        self, i: int, x: Tensor, features: Tensor, targets: Tensor, features_before: Tensor, part: Tensor
    ) -> None:
        """Ridge regressions of a column's targets on the features before it, on all rows and without each part.

        The scale of the line is the error on the parts left out.
        """
        self.linear[i].zero_()
        self.lines[:, i].zero_()
        rows = (
            (x < self.sizes[i] - (i in self.missing)).nonzero().flatten() if i in self.ordered else torch.arange(len(x))
        )
        rows = rows[:: -(-len(rows) // GROWN) or 1]
        if not len(features_before) or len(rows) < 2 * self.least:
            return
        a, y = features[rows][:, features_before].double(), targets[rows, : 1 if i in self.ordered else LINEAR].double()
        ridge = sklearn.linear_model.RidgeCV(alphas=[0.1, 1.0, 10.0, 100.0, 1000.0]).fit(a.numpy(), y.numpy())
        a = _with_one(a)
        penalty = torch.full((a.shape[1],), float(ridge.alpha_)).double()
        penalty[-1] = 1e-6
        left_out = [part[rows] == k for k in range(PARTS)]
        squares = torch.stack([a[mask].T @ a[mask] for mask in left_out])
        products = torch.stack([a[mask].T @ y[mask] for mask in left_out])
        squares, products = (torch.cat([v.sum(0) - v, v.sum(0, keepdim=True)]) for v in (squares, products))
        weights = torch.linalg.solve(squares + penalty.diag(), products)
        columns = F.pad(features_before, (0, 1), value=self.linear.shape[2] - 1)
        self.linear[i, : y.shape[1], columns] = weights[-1].T.float()
        self.lines[:, i, columns] = weights[:-1, :, 0].float()
        errors = y - torch.einsum("nf,nfk->nk", a, weights[part[rows]])
        self.line[i, 0] = float(errors[:, 0].square().mean().clamp(min=1e-6).sqrt())

    def _grow(self, r: int, features: Tensor, targets: Tensor, inside: Tensor, index: Tensor) -> None:
        """Grow tree ``r`` on the rows inside, with features whose places among all features are an index."""
        self.child[r].fill_(-1)
        rows = inside.nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(r))[:GROWN]]
        if len(rows) < 2 * self.least:
            return
        model = sklearn.tree.DecisionTreeRegressor(
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.least,
            max_features=SPLIT,
            max_depth=DEPTH,
            min_impurity_decrease=1e-7,
            random_state=r,
        ).fit(features[rows].numpy(), targets[rows].numpy())
        self.plant(r, model.tree_, index)

    def _count(self, x: Tensor, cond: Tensor | None) -> None:
        """Count the tokens of rows in each node on their way."""
        self.counts.zero_()
        flat = self.counts.view(-1)
        nodes, most = self.counts.shape[1:]
        for low in range(0, len(x), 4096):
            block = x[low : low + 4096]
            inputs = self._inputs(block, None if cond is None else cond[low : low + 4096])
            path = self.paths(inputs, torch.arange(len(self.counts)))
            token = block.repeat_interleave(self.trees, 1).unsqueeze(2)
            place = (torch.arange(path.shape[1]).unsqueeze(1) * nodes + path) * most + token
            flat += torch.bincount(place[path >= 0], minlength=flat.numel()).float()

    def _inside(self, x: Tensor) -> Tensor:
        """Which trees grow on which rows, ``(N, trees)``: a function of the row alone, so equal rows go together."""
        if self.trees == 1:
            return torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        return (_hashes(x, self.trees) % 1000).float() < 1000 * SHARE

    def _part(self, x: Tensor) -> Tensor:
        """The part of each row, without which others predict it, ``(N,)``: a function of the row alone."""
        return _hashes(x, self.trees + 1)[:, -1] % PARTS

    # --- masses -------------------------------------------------------------------------------------------------------

    def _inputs(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """All features of rows, the linear predictions of each column behind the others, ``(B, F + C · LINEAR)``."""
        features = self._features(x, cond)
        return torch.cat([features, _with_one(features) @ self.linear.flatten(0, 1).T], 1)

    def _means(self, inputs: Tensor, part: Tensor | None = None) -> Tensor:
        """The linear prediction of each column, ``(B, C)``: that of all rows, or without the part of each row.

        Trees have the former as a feature. The latter would tell them of a row that it is not among the others.
        """
        first = inputs.shape[1] - self.columns * LINEAR
        means = inputs[:, first::LINEAR].clone()
        for k in () if part is None else range(PARTS):
            means[part == k] = _with_one(inputs[part == k, :first]) @ self.lines[k].T
        return means

    def forward(self, x: Tensor, cond: Tensor | None = None, column: int | None = None) -> Tensor:
        """``log p(x_i | x_<i, c)`` of tokens ``(B, C)``, or of each token of one column, ``(B, sizes[column])``."""
        if column is not None:
            return self._of_column(x, cond, column)
        return self._shared(self._parts(x, cond, self.training), torch.arange(self.columns, device=x.device))

    def _of_column(self, x: Tensor, cond: Tensor | None, column: int) -> Tensor:
        inputs, trees = self._inputs(x, cond), column * self.trees + torch.arange(self.trees, device=x.device)
        masses = self._tables()[trees, self.paths(inputs, trees).amax(2)]
        masses = torch.einsum("t,btk->bk", self.weight[column].softmax(0), masses)[:, : self.sizes[column]]
        tokens = torch.arange(self.sizes[column], device=x.device).expand(len(x), -1)
        columns = torch.tensor([column], device=x.device)
        line = self._line(self._means(inputs)[:, columns], tokens, columns)
        beside = [mixture.next(x, column).exp() for mixture in self.classics]
        return self._shared(torch.stack([masses, line, *beside], 2), columns)

    def _parts(self, x: Tensor, cond: Tensor | None, left_out: bool) -> Tensor:
        """Masses of tokens by trees, line and mixtures, ``(B, C, M)``. If ``left_out``: fitted without each row."""
        part, columns = self._part(x) if left_out else None, torch.arange(self.columns, device=x.device)
        inputs = self._inputs(x, cond)
        beside = [mixture(x, None if part is None else part % FOLDS).exp() for mixture in self.classics]
        masses = self._left_out(x, inputs) if left_out else self._by_trees(x, inputs)
        return torch.stack([masses, self._line(self._means(inputs, part), x, columns), *beside], 2)

    def _by_trees(self, x: Tensor, inputs: Tensor) -> Tensor:
        """``p(x_i | x_<i, c)`` by all trees, ``(B, C)``."""
        trees = torch.arange(len(self.counts), device=x.device)
        leaf, token = self.paths(inputs, trees).amax(2), x.repeat_interleave(self.trees, 1)
        masses = self._tables()[trees, leaf, token].view(len(x), self.columns, self.trees)
        return (masses * self.weight.softmax(1)).sum(2)

    def _line(self, mean: Tensor, tokens: Tensor, columns: Tensor) -> Tensor:
        """Masses of tokens in ordered columns by a Gaussian about the linear prediction, ``(B, T)``."""
        scale, gap = self.line[columns].unbind(1)
        low, high = (torch.special.ndtr((self.edges[columns, tokens + k] - mean) / scale) for k in (0, 1))
        line = torch.where(tokens >= self._last()[columns], gap, (1 - gap) * (high - low))
        return torch.where(self._is_ordered()[columns], line, 0.0)

    def _shared(self, parts: Tensor, columns: Tensor) -> Tensor:
        """The logarithm of masses ``(B, T, M)`` by their shares in columns, ``(B, T)``."""
        hidden = F.pad(~self._is_ordered()[columns].unsqueeze(1), (1, len(self.mixtures)))
        return (parts * self.shares[columns].masked_fill(hidden, -torch.inf).softmax(1)).sum(2).log()

    @torch.no_grad()
    def conditional(self, x: Tensor, observed_mask: Tensor, column: int, cond: Tensor | None = None) -> Tensor:
        """``log q(x_i | x_S, c)`` of each token of a column, ``(B, sizes[column])``, for any sets ``S``, ``(B, C)``.

        It is ``p`` where ``S`` is ``x_<i``, or all other columns. Else it mixes ``p(x_i | x_<i)`` and

            q(x_i | x_S) ~ p(x_i | x_<i) r(x_i | x_S) / r(x_i | x_<i),    or is r(x_i | x_S) where x_<i is not all in S

        with the mean ``r`` of the mixtures of rows.
        """
        earlier = torch.zeros(self.columns, dtype=torch.bool, device=x.device)
        earlier[list(self.order[: self.order.index(column)])] = True
        nats = self._proposed(x, observed_mask, earlier, column, cond) if self.classics else self(x, cond, column)
        mask = observed_mask.clone()
        mask[:, column] = True
        rows = (mask.all(1) & (observed_mask & ~earlier).any(1)).nonzero().flatten()
        nats[rows] = self._exactly(x[rows], column, None if cond is None else cond[rows])
        return nats

    def _proposed(self, x: Tensor, observed_mask: Tensor, earlier: Tensor, i: int, cond: Tensor | None) -> Tensor:
        later = (observed_mask & ~earlier).any(1, keepdim=True)
        forward, by_rows = self(x, cond, i), self._by_mixtures(x, observed_mask, i)
        ratio = torch.where(later, by_rows - self._by_mixtures(x, earlier.expand(x.shape), i), 0.0)
        nats = torch.logaddexp(forward, (forward + ratio).log_softmax(1)) - math.log(2)
        return torch.where((observed_mask | ~earlier).all(1, keepdim=True), nats, by_rows)

    def _exactly(self, x: Tensor, i: int, cond: Tensor | None) -> Tensor:
        """``log p(x_i | all other columns, c)`` of each token: rows with it are scored."""
        size, parts = self.sizes[i], [x.new_zeros(0, self.sizes[i], dtype=self.root.dtype)]
        for low in range(0, len(x), BLOCK):
            rows = x[low : low + BLOCK].repeat_interleave(size, 0)
            rows[:, i] = torch.arange(size, device=x.device).repeat(len(rows) // size)
            labels = None if cond is None else cond[low : low + BLOCK].repeat_interleave(size, 0)
            parts.append(self(rows, labels).sum(1).view(-1, size).log_softmax(1))
        return torch.cat(parts)

    def _by_mixtures(self, x: Tensor, observed_mask: Tensor, column: int) -> Tensor:
        nats = [mixture.conditional(x, observed_mask, column) for mixture in self.classics]
        return torch.stack(nats).logsumexp(0) - math.log(len(nats))

    def _last(self) -> Tensor:
        """The number of tokens of each column that are no gap."""
        return torch.tensor([k - (i in self.missing) for i, k in enumerate(self.sizes)], device=self.counts.device)

    def _is_ordered(self) -> Tensor:
        return torch.tensor([i in self.ordered for i in range(self.columns)], device=self.counts.device)

    def _rows(self) -> Tensor:
        """The column of each tree."""
        return torch.arange(self.columns, device=self.counts.device).repeat_interleave(self.trees)

    def _weights(self) -> tuple[Tensor, Tensor]:
        """``a`` by column and size, ``(C, SCALES)``, and the shares of the kernels, ``(C, SCALES, K)``."""
        return self.log_prior.exp(), self.smoothing.softmax(2)

    def _left_out(self, x: Tensor, inputs: Tensor) -> Tensor:
        """``p(x_i | x_<i, c)`` by some trees that grew without each row, and by counts without it, ``(B, C)``."""
        prior, shares = self._weights()
        later = torch.rand(len(x), self.trees, device=x.device) + self._inside(x)
        judges = later.topk(min(JUDGED, self.trees), largest=False).indices
        column = torch.arange(self.columns, device=x.device).repeat_interleave(judges.shape[1])
        trees = (torch.arange(self.columns, device=x.device)[:, None] * self.trees + judges[:, None]).flatten(1)
        path, token = self.paths(inputs, trees), x.repeat_interleave(judges.shape[1], 1)
        place, tree = path.clamp(min=0), trees.unsqueeze(2)
        total = self._totals()[tree, place]
        size = _scale(total)
        a, share = prior[column.unsqueeze(1), size], shares[column.unsqueeze(1), size]
        own = self._weighed()[column, :, token, token].unsqueeze(2)
        smooth = self._smooth()[tree, place, :, token.unsqueeze(2)] - own
        evidence, total = (smooth * share).sum(3).clamp(min=0), (total - 1).clamp(min=0)
        p = self.root[column, token]
        for d in range(path.shape[2]):
            better = (evidence[:, :, d] + a[:, :, d] * p) / (total[:, :, d] + a[:, :, d])
            p = torch.where(path[:, :, d] >= 0, better, p)
        weight = self.weight[:, judges].softmax(2).transpose(0, 1)
        return (p.view(weight.shape) * weight).sum(2)

    def _totals(self) -> Tensor:
        """The rows in each node, ``(R, nodes)``."""
        return self._remembered("totals", [self.counts], lambda: self.counts.sum(2))

    def _weighed(self) -> Tensor:
        """Kernels of each column, ``(C, K, tokens, tokens)``, weighed by the masses of the tokens that they reach."""
        return self._remembered("weighed", [self.root], self._compute_weighed)

    def _compute_weighed(self) -> Tensor:
        weighed = self.kernels * self.root[:, None, None].clamp(min=1e-30)
        return weighed / weighed.sum(3, keepdim=True)

    def _smooth(self) -> Tensor:
        """Counts of tokens under each kernel, ``(R, nodes, K, tokens)``."""
        return self._remembered("smooth", [self.counts, self.root], self._compute_smooth)

    def _compute_smooth(self) -> Tensor:
        kernels = self._weighed()[self._rows()]
        return torch.einsum("rnt,rkts->rnks", self.counts, kernels)

    def _tables(self) -> Tensor:
        """The masses of all tokens in each node, ``(R, nodes, tokens)``."""
        return self._remembered(
            "tables", [self.counts, self.root, self.log_prior, self.smoothing], self._compute_tables
        )

    def _compute_tables(self) -> Tensor:
        (prior, shares), column, child = self._weights(), self._rows(), self.child.long()
        smooth, total = self._smooth(), self._totals()
        tree, node = torch.arange(len(column), device=child.device), torch.zeros_like(column)
        above = self.root[column]
        place, parts, count = child.new_zeros(child.shape[:2]), list[Tensor](), 0
        for _ in range(DEPTH + 1):
            of, size = column[tree], _scale(total[tree, node])
            a = prior[of, size].unsqueeze(1)
            evidence = (smooth[tree, node] * shares[of, size].unsqueeze(2)).sum(1)
            parts.append((evidence + a * above) / (total[tree, node].unsqueeze(1) + a))
            place[tree, node] = count + torch.arange(len(tree), device=child.device)
            count += len(tree)
            below = child[tree, node]
            source, side = (below > 0).nonzero().unbind(1)
            above, tree, node = parts[-1][source], tree[source], below[source, side]
            if not len(tree):
                break
        return torch.cat(parts)[place]

    def _uniform(self) -> Tensor:
        """All tokens of a column alike, ``(C, tokens)``."""
        size = torch.tensor(self.sizes).unsqueeze(1)
        return (torch.arange(max(self.sizes), device=size.device) < size) / size

    def _remembered(self, name: str, sources: list[Tensor], compute: Callable[[], Tensor]) -> Tensor:
        """A table that is computed once for the tensors that it depends on, unless a gradient is asked for."""
        if torch.is_grad_enabled() and any(source.requires_grad for source in sources):
            return compute()
        memory = self._memory.get(name)
        if memory is None or not all(map(_same, memory[0], sources)):
            with torch.no_grad():
                memory = tuple(source.detach().clone() for source in sources), compute()
            self._memory[name] = memory
        return memory[1]


def _with_one(features: Tensor) -> Tensor:
    """Features with a constant one, ``(N, F + 1)``."""
    return F.pad(features, (0, 1), value=1.0)


def _hashes(x: Tensor, count: int) -> Tensor:
    """Numbers ``(N, count)`` of tokens ``(N, C)`` that look random, and are the same for equal rows."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(1, 1 << 20, (count, x.shape[1]), generator=generator).to(x.device)
    mixed = ((x + 1).unsqueeze(1) * factors).sum(2)
    mixed = (mixed ^ (mixed >> 7)) * 2654435761 % (1 << 32)
    return mixed >> 8


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and torch.equal(a, b)


def _scale(total: Tensor) -> Tensor:
    """The power of two of a number of rows."""
    return total.clamp(min=1).log2().long().clamp(max=SCALES - 1)


def _kernels(sizes: Sequence[int], ordered: Collection[int], missing: Collection[int]) -> Tensor:
    """Kernels of each column by distance alone, ``(C, K, tokens, tokens)``: from each token to all, sums of 1."""
    most = max(sizes)
    kernels = torch.eye(most).repeat(len(sizes), len(WIDTHS), 1, 1)
    for i in ordered:
        last = sizes[i] - (i in missing)
        distance = torch.arange(last).unsqueeze(1) - torch.arange(last)
        for k, width in enumerate(WIDTHS[1:], 1):
            kernel = torch.exp(-((distance / max(width * last, 0.5)) ** 2) / 2)
            kernels[i, k, :last, :last] = kernel / kernel.sum(1, keepdim=True)
    return kernels
