"""Networks of tables: log-masses of each column's tokens, given any set of the other columns.

One masked layer leads from the embeddings of all columns to a hidden layer of each (Germain, Gregor, Murray, Larochelle
2015, https://arxiv.org/abs/1502.03509), and the order of the columns is drawn anew in training, so that one network
knows every order (Uria, Murray, Larochelle 2014, https://arxiv.org/abs/1310.1757). A hidden layer for each column is
what models of tables want: Tiwald et al. 2025 (https://arxiv.org/abs/2501.12012).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.distributions.tokens import like_sizes
from fourfold.nn.entry import Offset
from fourfold.nn.relative import RelativeHeads, RelativeSteps
from fourfold.nn.resnet import ResMLP

__all__ = ["CodeEmbedding", "ColumnHeads", "ColumnNetwork", "TableEncoder", "waves"]


def waves(tokens: int, count: int = 16) -> Tensor:
    """Smooth functions of an ordered token, ``(tokens, 2 count)``: sines and cosines of growing frequency.

    The slowest wave runs through a quarter of a cycle over all tokens. Amplitudes fall with the fourth root of the
    frequency, so a model learns the coarse shape of a distribution before its details.
    """
    place = (torch.arange(tokens) + 0.5) / tokens
    cycles = torch.logspace(-2, math.log2(max(tokens, 2)) - 2, count, base=2.0)
    phase, amplitude = 2 * math.pi * place[:, None] * cycles, (4 * cycles) ** -0.25
    return torch.cat([phase.sin() * amplitude, phase.cos() * amplitude], 1)


@final
class CodeEmbedding(nn.Module):
    """A vector of each token of each column. Those of neighbouring tokens are alike where tokens are ordered.

    Args:
        sizes: tokens of each column.
        width: length of a vector.
        ordered: the columns whose tokens are ordered.
    """

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], width: int, ordered: Sequence[int] = ()) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight)
        if self.table.weight.is_meta:  # it has no values
            return
        with torch.no_grad():
            for size in sorted({sizes[i] for i in ordered}):
                alike = [i for i in ordered if sizes[i] == size]
                smooth = waves(size)
                part = smooth / smooth.norm(dim=1, keepdim=True) @ torch.randn(len(alike), 32, width)
                place = self.offsets[alike][:, None] + torch.arange(size)
                self.table.weight[place] = 0.3 * self.table.weight[place] + 0.95 * part

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """``(B, C)`` tokens of the columns from ``first`` on to ``(B, C, width)``."""
        return self.table(x + self.offsets[first : first + x.shape[1]])


@final
class ColumnHeads(nn.Module):
    """``log softmax(W_i h_i + b_i)`` over the tokens of each column, columns of like sizes in one product.

    Where tokens are ordered, ``W_i`` has a smooth part: a learned matrix times :func:`waves`. So neighbours learn from
    each other. The free part is scaled by ``FREE`` and so learned late: few rows are not learned by heart before the
    held-out loss ends the training.

    Args:
        sizes: tokens of each column.
        width: length of ``h_i``.
        ordered: the columns whose tokens are ordered.
        missing: those of them whose last token is "missing".
        sides: how many nearest tokens of other rows the logits are relative to (:mod:`fourfold.nn.relative`).
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("matrix", "smooth", "bias")
    FREE: ClassVar[float] = 0.3

    def __init__(
        self,
        sizes: Sequence[int],
        width: int,
        ordered: Sequence[int] = (),
        missing: Collection[int] = (),
        sides: int = 0,
    ) -> None:
        super().__init__()
        self.groups = [*like_sizes(sizes, set(range(len(sizes))) - set(ordered)), *like_sizes(sizes, set(ordered))]
        self.waved = [group[0] in set(ordered) for group in self.groups]
        most = [max(sizes[i] for i in group) for group in self.groups]
        shapes = list(zip(map(len, self.groups), most, strict=True))
        self.matrix = nn.ParameterList(nn.Parameter(torch.zeros(g, width, k)) for g, k in shapes)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(g, 1, k)) for g, k in shapes)
        smooth = [
            nn.Parameter(torch.zeros(g, width, 32)) for (g, _), waved in zip(shapes, self.waved, strict=True) if waved
        ]
        self.smooth = nn.ParameterList(smooth)
        self.relative = RelativeHeads(sizes, self.groups, width, set(ordered), missing, sides) if sides else None
        self.place = {i: (g, j) for g, group in enumerate(self.groups) for j, i in enumerate(group)}
        self.sizes = tuple(sizes)
        for g, (group, k) in enumerate(zip(self.groups, most, strict=True)):
            size = torch.tensor([sizes[i] for i in group])
            beyond = torch.arange(k) >= size[:, None]
            self.register_buffer(f"beyond_{g}", beyond[:, None], persistent=False)
            if self.waved[g]:
                table = torch.stack([torch.cat([waves(sizes[i]), torch.zeros(k - sizes[i], 32)]) for i in group])
                self.register_buffer(f"waves_{g}", table.mT.contiguous(), persistent=False)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Set each bias to the log-shares of the column's tokens ``(N, C)``, with half a row more for each."""
        for i, size in enumerate(self.sizes):
            g, j = self.place[i]
            shares = (torch.bincount(x[:, i], minlength=size) + 0.5) / (len(x) + size / 2)
            self.bias[g][j, 0, :size] = shares.log() - shares.log().mean()

    def _weights(self, g: int, only: slice = slice(None)) -> Tensor:
        """``W`` of (some columns of) a group, ``(columns, width, tokens)``."""
        matrix = self.matrix[g][only]
        if not self.waved[g]:
            return matrix
        smooth = self.smooth[g - self.waved.index(True)][only]
        return torch.baddbmm(self.FREE * matrix, smooth, getattr(self, f"waves_{g}")[only].to(smooth.dtype))

    def forward(self, h: Tensor, x: Tensor, near: Tensor | None = None) -> Tensor:
        """``log p(x_i)`` of tokens ``(B, C)`` from features ``(C, B, width)``, ``(B, C)`` float32."""
        parts = []
        for g, group in enumerate(self.groups):
            bias = self.bias[g].masked_fill(getattr(self, f"beyond_{g}"), -math.inf)
            logits = torch.baddbmm(bias, h[group], self._weights(g)).float()
            if self.relative is not None and near is not None:
                logits = logits + self.relative(g, h[group], near[:, group]).float()
            nats = F.cross_entropy(logits.flatten(0, 1), x[:, group].T.flatten(), reduction="none")
            parts.append(nats.view(len(group), -1))
        order = torch.tensor([i for group in self.groups for i in group], device=x.device)
        return -torch.cat(parts)[order.argsort()].T

    def logits(self, h: Tensor, i: int, near: Tensor | None = None) -> Tensor:
        """``log p(x_i = k)`` up to a constant, of each token of one column, ``(B, sizes[i])`` float32.

        Args:
            h: its features ``(B, width)``.
            i: number of the column.
            near: its nearest tokens of other rows, ``(B, sides, 2)``.
        """
        (g, j), k = self.place[i], self.sizes[i]
        only = slice(j, j + 1)
        logits = torch.addmm(self.bias[g][j, :, :k], h, self._weights(g, only)[0, :, :k])
        if self.relative is not None and near is not None:
            logits += self.relative(g, h[None], near[:, None], only)[0, :, :k]
        return logits.float()


@final
class ColumnNetwork(Part, nn.Module):
    """Log-masses of each column's tokens given any set of the other columns.

    The embeddings of the columns that column ``i`` sees, and the label's, enter its hidden layer. ``depth`` residual
    layers of its own follow. Returns float32.

    Args:
        sizes: tokens of each column.
        embedding: length of a token's vector.
        width: hidden units of each column.
        depth: residual layers of each column.
        ordered: the columns whose tokens are ordered.
        reading: reads the condition, or ``None``.
        dropout: share of the hidden units that are dropped in training.
        missing, sides: as of :class:`ColumnHeads`. Only for rows of sequences.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "inner", "inner_bias")
    CHUNKS: ClassVar[int] = 4
    """Runs of an order whose hidden layers are computed together, from no more columns than they may see."""

    def __init__(
        self,
        sizes: Sequence[int],
        embedding: int = 16,
        width: int = 64,
        depth: int = 1,
        ordered: Sequence[int] = (),
        reading: Reading | None = None,
        dropout: float = 0.0,
        missing: Collection[int] = (),
        sides: int = 0,
    ) -> None:
        super().__init__()
        self.columns, self.embedding, self.width, self.dropout = len(sizes), embedding, width, dropout
        self.code_embedding = CodeEmbedding(sizes, embedding, ordered)
        scale = 1 / math.sqrt(embedding * max(self.columns / 2, 1))
        self.entry = nn.Parameter(torch.randn(self.columns * embedding, self.columns * width) * scale)
        self.given = Offset(reading, self.columns * width, 0.1)
        layers = [torch.randn(self.columns, width, width) / math.sqrt(width) for _ in range(depth)]
        self.inner = nn.ParameterList(map(nn.Parameter, layers))
        self.inner_bias = nn.ParameterList(nn.Parameter(torch.zeros(self.columns, 1, width)) for _ in range(depth))
        self.steps = RelativeSteps(sizes, embedding, ordered, sides) if sides else None
        self.heads = ColumnHeads(sizes, width, ordered, missing, sides)

    def embedded(self, x: Tensor, near: Tensor | None = None, first: int = 0) -> Tensor:
        """Vectors of the tokens ``(B, C)``, with the steps from the nearest ones, ``(B, C, embedding)``.

        The tokens are of the columns from ``first`` on.
        """
        e = self.code_embedding(x, first)
        return e if self.steps is None or near is None else e + self.steps(x, near, first)

    def offsets(self, context: Tensor) -> Tensor:
        """The input of the hidden layer of each column beside the columns before it, ``(B, C, width)``.

        Args:
            context: as of :meth:`forward`. There is no condition.
        """
        base = self.given(None, len(context))
        return (base + context.to(base)).view(-1, self.columns, self.width)

    def next_logits(self, e: Tensor, offset: Tensor, near: Tensor | None = None) -> Tensor:
        """Logits of the tokens of the next column, ``(B, K)``, given those before it in the order of the columns.

        Args:
            e: vectors of the tokens of the columns before it, by :meth:`embedded`, ``(B, i, embedding)``.
            offset: what else its hidden layer sees, with the share of the condition, ``(B, width)``.
            near: its nearest tokens of other rows, ``(B, sides, 2)``.
        """
        i = e.shape[1]
        own = slice(i * self.width, (i + 1) * self.width)
        h = torch.addmm(offset, e.flatten(1), self.entry[: i * self.embedding, own])
        return self.heads.logits(self._deep(h[None], slice(i, i + 1))[0], i, near)

    def forward(
        self,
        x: Tensor,
        sees: Tensor,
        cond: Tensor | None = None,
        column: int | None = None,
        context: Tensor | None = None,
        near: Tensor | None = None,
    ) -> Tensor:
        """Log-masses of the tokens of all columns, or of every token of one.

        Args:
            x: tokens ``(B, C)``.
            sees: an order ``(C,)``, in which each column sees those before it, or the columns that all others see,
                bool ``(B, C)``, as with a ``column``.
            cond: conditions, ``(B, *)``.
            column: number of the column whose masses are returned.
            context: what else the hidden layers see, added to them, ``(B, C · width)``.
            near: nearest tokens of other rows, ``(B, C, sides, 2)``.

        Returns:
            ``log p(x_i | seen)``, ``(B, C)``. With a ``column``, ``log p(x_column = k | seen)``, ``(B, K)``.
        """
        labels = self.given(cond, len(x))
        labels = labels if context is None else labels + context.to(labels)
        labels = labels.view(-1, self.columns, self.width).transpose(0, 1)
        if column is None and sees.ndim == 1:
            return self.heads(self._deep(self._in_order(x, sees, near) + labels, slice(None)), x, near)
        inputs = (self.embedded(x, near) * sees.unsqueeze(2)).flatten(1)
        if column is None:
            h = (inputs @ self.entry).view(len(x), self.columns, self.width).transpose(0, 1)
            return self.heads(self._deep(h + labels, slice(None)), x, near)
        h = inputs @ self.entry[:, column * self.width : (column + 1) * self.width]
        deep = self._deep(h + labels[column : column + 1], slice(column, column + 1))[0]
        return self.heads.logits(deep, column, None if near is None else near[:, column]).log_softmax(1)

    def _in_order(self, x: Tensor, order: Tensor, near: Tensor | None = None) -> Tensor:
        """The hidden layers before their nonlinearity, ``(C, B, width)``, each from the columns before its own."""
        e = self.embedded(x, near).index_select(1, order).flatten(1)
        step = -(-self.columns // self.CHUNKS)
        parts = []
        for low in range(0, self.columns, step):
            high = min(low + step, self.columns)
            weight = self.entry.view(self.columns, self.embedding, self.columns, self.width)
            weight = weight.index_select(0, order[:high]).index_select(2, order[low:high])
            earlier = torch.arange(high, device=x.device)[:, None] < torch.arange(low, high, device=x.device)
            weight = (weight * earlier[:, None, :, None]).flatten(2).flatten(0, 1)
            parts.append(e[:, : high * self.embedding] @ weight)
        h = torch.cat(parts, 1).view(len(x), self.columns, self.width)
        return h.transpose(0, 1).index_select(0, order.argsort())

    def _deep(self, h: Tensor, columns: slice) -> Tensor:
        """The residual layers of some columns, ``(columns, B, width)``."""
        h = F.dropout(F.silu(h), self.dropout, self.training)
        for matrix, bias in zip(self.inner, self.inner_bias, strict=True):
            u = F.silu(torch.baddbmm(bias[columns], h, matrix[columns]))
            h = h + F.dropout(u, self.dropout, self.training)
        return h


@final
class TableEncoder(Part, nn.Module):
    """Tokens of a row (and labels) to a vector: ``(B, C)`` to ``(B, outputs)``, float32.

    Args:
        sizes: tokens of each column.
        outputs: length of the vector.
        embedding: length of a token's vector.
        width: length of the residual stream.
        blocks: residual blocks.
        ordered: the columns whose tokens are ordered.
        reading: reads the condition, or ``None``.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        outputs: int,
        embedding: int = 8,
        width: int = 128,
        blocks: int = 2,
        ordered: Sequence[int] = (),
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.code_embedding = CodeEmbedding(sizes, embedding, ordered)
        self.net = ResMLP(len(sizes) * embedding, outputs, width, blocks, reading)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(self.code_embedding(x).flatten(1), cond)
