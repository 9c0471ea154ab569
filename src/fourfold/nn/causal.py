"""Causal convolutions over images: logits of each pixel given those above it and to its left, and a cached step.

Two streams, as in Gated PixelCNN, leave no blind spot: one sees all rows above (van den Oord, Kalchbrenner, Vinyals,
Espeholt, Graves, Kavukcuoglu 2016, https://arxiv.org/abs/1606.05328), and the other continues within the row. Both are
residual, and use shifted instead of masked kernels where possible (Salimans, Karpathy, Chen, Kingma 2017, PixelCNN++,
https://arxiv.org/abs/1701.05517). Tensors are ``(N, H, W, C)``, which is torch's channels-last. A network computes in
the dtype of its weights and returns float32.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry, Passed, read
from fourfold.nn.layers import zeroed

__all__ = ["CausalConvNet", "PlaneCache", "PlaneCondition"]


def _kernel(outputs: int, inputs: int, rows: int, columns: int, taps: int, gain: float) -> nn.Parameter:
    """A kernel with normal entries of standard deviation ``gain / sqrt(inputs · taps)``."""
    return nn.Parameter(torch.randn(outputs, inputs, rows, columns) * (gain / math.sqrt(inputs * taps)))


def _below(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution ``(N, H, W, C)`` to ``(N, H, W, C')`` of each row and the ones above it, zeros above the first.

    Rows are added above only. Rows added on both sides would cost outputs to cut off, whose gradient, a slice filled up
    with zeros, is not in the layout that kernels like.
    """
    rows, columns = weight.shape[2:]
    x = F.pad(x, (0, 0, 0, 0, rows - 1, 0))
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=(0, columns // 2)).permute(0, 2, 3, 1)


@final
class RowConv(Part, nn.Module):
    """A convolution that sees all of its own row and the ``rows - 1`` rows above.

    Args:
        inputs, outputs: channels.
        rows: height of the kernel.
        reach: number of columns that it sees on either side.
        gain: scale of the weights at the start.
    """

    def __init__(self, inputs: int, outputs: int, rows: int, reach: int, gain: float = 1.0) -> None:
        super().__init__()
        self.rows, self.reach, self.inputs = rows, reach, inputs
        self.weight = _kernel(outputs, inputs, rows, 2 * reach + 1, rows * (2 * reach + 1), gain)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, inputs)`` to ``(N, H, W, outputs)``."""
        return _below(x, self.weight, self.bias)

    def memory(self, batch: int, width: int) -> Tensor:
        """The rows above the first one: zeros."""
        return self.weight.new_zeros(batch, self.rows, width, self.inputs)

    def step(self, row: Tensor, memory: Tensor) -> Tensor:
        """The next row, ``(N, 1, W, inputs)`` to ``(N, 1, W, outputs)``. ``memory`` holds the rows above."""
        memory[:, :-1] = memory[:, 1:].clone()
        memory[:, -1:] = row
        y = F.conv2d(memory.permute(0, 3, 1, 2), self.weight, self.bias, padding=(0, self.reach))
        return y.permute(0, 2, 3, 1)


@final
class PixelConv(Part, nn.Module):
    """A convolution that sees ``rows - 1`` rows above and, in its own row, only positions to the left, or its own too.

    Args:
        inputs, outputs: channels.
        rows: height of the kernel.
        reach: number of columns that it sees on either side.
        centre: whether a position sees itself.
        gain: scale of the weights at the start.
    """

    mask: Tensor

    def __init__(
        self, inputs: int, outputs: int, rows: int, reach: int, centre: bool = True, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.rows, self.reach, self.inputs = rows, reach, inputs
        mask = torch.ones(rows, 2 * reach + 1)
        mask[-1, reach + int(centre) :] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.weight = _kernel(
            outputs, inputs, rows, 2 * reach + 1, (rows - 1) * (2 * reach + 1) + reach + int(centre), gain
        )
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, inputs)`` to ``(N, H, W, outputs)``."""
        return _below(x, self.weight * self.mask.to(self.weight), self.bias)

    def memory(self, batch: int, height: int, width: int) -> Tensor:
        """An empty plane with the margins that the kernel needs."""
        return self.weight.new_zeros(batch, height + self.rows - 1, width + 2 * self.reach, self.inputs)

    def matrix(self) -> Tensor:
        """The kernel as the matrix that :meth:`step` multiplies a flattened patch with."""
        return (self.weight * self.mask.to(self.weight)).permute(2, 3, 1, 0).reshape(-1, len(self.bias)).contiguous()

    def step(self, x: Tensor, memory: Tensor, matrix: Tensor, row: int, column: int) -> Tensor:
        """The output at one position, ``(N, outputs)``, given its input ``(N, inputs)`` and the remembered ones."""
        memory[:, row + self.rows - 1, column + self.reach] = x
        patch = memory[:, row : row + self.rows, column : column + 2 * self.reach + 1]
        return torch.addmm(self.bias, patch.reshape(len(x), -1), matrix)


@final
class PlaneCache:
    """The memory of :class:`CausalConvNet` for the planes that it is drawing.

    Attributes:
        start: the share of kind and condition in the stream of whole rows, ``(N, 1, 1, U)``.
        index: the next position to draw, in raster order.
        rows, pixels: memories of the two streams, block by block.
        matrices: the prepared kernels.
        base: ``(N, H, W, C)``, added at the entry of the pixel stream at each position.
        values: features of the plane so far, ``(N, H, W, F)``.
        highest: the largest features of the rows above, ``(N, U)``.
        displaced: pixel values that pixels may be copied from, and mismatches so far, see :class:`Displacement`.
    """

    def __init__(
        self,
        start: Tensor,
        rows: list[Tensor],
        pixels: list[Tensor],
        matrices: list[Tensor],
        base: Tensor,
        values: Tensor,
        highest: Tensor,
        displaced: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.start, self.rows, self.pixels, self.matrices = start, rows, pixels, matrices
        self.base, self.values, self.highest, self.displaced, self.index = base, values, highest, displaced, 0


@final
class RowBlock(Part, nn.Module):
    """``v + W relu(conv(relu(v)))`` in the stream that sees whole rows."""

    def __init__(self, width: int, hidden: int, rows: int, reach: int) -> None:
        super().__init__()
        self.conv = RowConv(width, hidden, rows, reach, gain=math.sqrt(2))
        self.out = zeroed(nn.Linear(hidden, width))

    def forward(self, v: Tensor) -> Tensor:
        return v + self.out(F.relu(self.conv(F.relu(v))))

    def step(self, v: Tensor, memory: Tensor) -> Tensor:
        """The next row."""
        return v + self.out(F.relu(self.conv.step(F.relu(v), memory)))


@final
class PixelBlock(Part, nn.Module):
    """``h + W relu(conv(relu(h)))`` in the stream that goes from pixel to pixel."""

    def __init__(self, width: int, hidden: int, rows: int, reach: int) -> None:
        super().__init__()
        self.conv = PixelConv(width, hidden, rows, reach, gain=math.sqrt(2))
        self.out = zeroed(nn.Linear(hidden, width))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.out(F.relu(self.conv(F.relu(h))))

    def step(self, h: Tensor, memory: Tensor, matrix: Tensor, row: int, column: int) -> Tensor:
        """One position."""
        return h + self.out(F.relu(self.conv.step(F.relu(h), memory, matrix, row, column)))


@final
class PlaneReader(Part, nn.Module):
    """Features of whole planes at every pixel, ``(N, F, H, W)`` to ``(N, C, H, W)``, by a residual network.

    It works at half the resolution, ``h + W_2 relu(W_1 relu(h))`` with 3 x 3 convolutions, so that each block sees 8
    pixels further across. Odd sides are padded by zeros and cut back.

    Args:
        inputs, outputs: ``F`` and ``C``.
        width: channels of the blocks.
        depth: number of blocks.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry",)

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(4 * inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(PlaneBlock(width) for _ in range(depth))
        self.exit = nn.Conv2d(width, 4 * outputs, 1)

    def forward(self, f: Tensor) -> Tensor:
        height, width = f.shape[2:]
        f = F.pixel_unshuffle(F.pad(f, (0, width % 2, 0, height % 2)), 2)
        h = self.entry(f.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            h = block(h)
        return F.pixel_shuffle(self.exit(F.relu(h)), 2)[:, :, :height, :width]


@final
class PlaneBlock(Part, nn.Module):
    """``h + W_2 relu(W_1 relu(h))`` with 3 x 3 convolutions. ``W_2`` is zero at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(F.relu(self.first(F.relu(h))))


@final
class Displacement(Part, nn.Module):
    """A mixture of a network's law of each pixel and of copies from the frame before, ``x'``, displaced by ``s``.

        P(x_i | x_<i, x') = (1 - sum_s g_i m_s(i)) P_net(x_i | x_<i, x') + sum_s g_i m_s(i) [x_i = x'_{i+s}]
        m_s(i) = softmax_s(a_s(i) - sum_j w_{i-j} |x_j - x'_{j+s}|),    j before i

    The network gives the gate ``g`` and the prior ``a`` of displacements, as in dynamic neural advection (Finn,
    Goodfellow, Levine 2016, https://arxiv.org/abs/1605.07157). The pixels near ``i`` that are known by then make it a
    posterior: a displacement under which they differ from the frame before is unlikely. Differences are in units of
    1/16 of the range of values. Nothing is copied from beyond an edge: such ``s`` are left out of both sums over ``s``,
    and a pixel from there counts as half a unit apart.

    Args:
        n_values: number of values that a pixel takes.
        channels: width of the network's last layer.
        reach: the largest displacement along rows and along columns, in pixels.
        rows, columns: how far above, and to either side, known pixels are compared.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("w", "head")
    mask: Tensor

    def __init__(self, n_values: int, channels: int, reach: int, rows: int = 4, columns: int = 4) -> None:
        super().__init__()
        self.n_values, self.reach, self.rows, self.columns = n_values, reach, rows, columns
        self.span, self.margins = 2 * reach + 1, (columns, columns, rows, 0)
        mask = torch.ones(rows + 1, 2 * columns + 1)
        mask[-1, columns:] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.w = nn.Parameter(torch.ones_like(mask))
        self.head = zeroed(nn.Linear(channels, 1 + self.span**2))

    def forward(self, logits: Tensor, h: Tensor, x: Tensor, before: Tensor) -> Tensor:
        """``log P`` of every pixel value, ``(N, H, W, n_values)``.

        Args:
            logits: the network's, ``(N, H, W, n_values)``.
            h: its last features, ``(N, H, W, channels)``.
            x: pixel values of the plane, ``(N, H, W)``.
            before: pixel values of the frame before it, ``(N, H, W)``.
        """
        moved = self.displaced(before)
        e = F.pad(self.mismatch(x[..., None], moved).permute(0, 3, 1, 2), self.margins)
        w = (self.w * self.mask).to(e.dtype).expand(self.span**2, 1, -1, -1)
        return self.mixed(logits, h, F.conv2d(e, w, groups=len(w)).permute(0, 2, 3, 1), moved)

    def displaced(self, before: Tensor) -> Tensor:
        """The pixel values ``x'_{i+s}`` for every displacement ``s``, -1 beyond the edges, ``(N, H, W, S)``."""
        wide = F.pad(before, [self.reach] * 4, value=-1)
        return wide.unfold(1, self.span, 1).unfold(2, self.span, 1).flatten(3)

    def mismatch(self, x: Tensor, moved: Tensor) -> Tensor:
        """``|x - x'|`` in units of 1/16 of the range of pixel values, and half a unit beyond the edges."""
        apart = (x - moved).abs().to(self.w.dtype) * (16 / (self.n_values - 1))
        return apart.masked_fill(moved < 0, 0.5)

    def memory(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """The displaced pixel values, and an empty plane of mismatches for each displacement."""
        moved = self.displaced(before)
        return moved, F.pad(torch.zeros_like(moved, dtype=self.w.dtype).permute(0, 3, 1, 2), self.margins)

    def see(self, x: Tensor, memory: tuple[Tensor, Tensor], row: int, column: int) -> None:
        """Write the mismatch of the pixel just drawn, ``(N,)``."""
        moved, e = memory
        e[:, :, row + self.rows, column + self.columns] = self.mismatch(x[:, None], moved[:, row, column])

    def step(self, logits: Tensor, h: Tensor, memory: tuple[Tensor, Tensor], row: int, column: int) -> Tensor:
        """``log P`` of every value of the next pixel, ``(N, n_values)``."""
        moved, e = memory
        patch = e[:, :, row : row + self.rows + 1, column : column + 2 * self.columns + 1]
        return self.mixed(logits, h, (patch * (self.w * self.mask)).sum((2, 3)), moved[:, row, column])

    def mixed(self, logits: Tensor, h: Tensor, e: Tensor, moved: Tensor) -> Tensor:
        """``log P`` of every value ``(*, n_values)``, given the weighted mismatch of each displacement ``(*, S)``."""
        g, a = self.head(F.relu(h)).float().split([1, self.span**2], -1)
        m = g.sigmoid() * (a - e.float()).softmax(-1) * (moved >= 0)
        copy = torch.zeros_like(logits).scatter_add(-1, moved.clamp(min=0), m)
        return (copy + (1 - m.sum(-1, keepdim=True)) * logits.softmax(-1)).clamp(min=1e-30).log()


class PlaneCondition(NamedTuple):
    """The conditions of planes, as :meth:`CausalConvNet.condition` reads them."""

    vector: Tensor | None = None
    """``(N, width)``. ``None`` without conditions."""
    places: Tensor | None = None
    """The share of a picture that is given, ``(N, H, W, channels)``. ``None`` where conditions have no maps."""

    def repeated(self, count: int) -> PlaneCondition:
        """The same conditions for ``count`` planes of each."""
        return PlaneCondition(*(None if part is None else part.repeat_interleave(count, 0) for part in self))


@final
class CausalConvNet(Part, nn.Module):
    """Logits of every pixel of a plane given the earlier ones in raster order, other planes, its kind and a condition.

    Args:
        n_values: number of values that a pixel takes.
        height, width: size of a plane.
        channels, hidden: width of the pixel stream and of its blocks.
        depth: number of blocks of the pixel stream.
        upper, upper_depth: width and number of blocks of the stream that sees whole rows.
        reach: columns that the pixel stream's kernels see to either side.
        kinds: number of kinds of planes, such as colours.
        reading: reads the condition, or ``None``.
        planes: number of other planes that the network may be conditioned on.
        waves: Fourier features of a pixel's value.
        reader, reader_depth: channels and residual blocks of the network that reads the other planes, see
            :class:`PlaneReader`. 0 channels are one convolution of 5 x 5. A picture that is given is read by a
            network of the same size, or of ``channels`` and 2 blocks.
        moved: how far a pixel copied from the frame before may have moved, see :class:`Displacement`. 0 copies none.
        overall: whether a pixel is also given the largest value of every feature of whole rows in all rows above it.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "stem", "position", "head")

    def __init__(
        self,
        n_values: int,
        height: int,
        width: int,
        channels: int,
        hidden: int,
        depth: int,
        upper: int,
        upper_depth: int,
        reach: int = 1,
        kinds: int = 1,
        planes: int = 0,
        waves: int = 6,
        reader: int = 0,
        reader_depth: int = 0,
        moved: int = 0,
        overall: bool = False,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.n_values, self.height, self.width, self.waves = n_values, height, width, waves
        features = 4 + 2 * waves
        self.entry = PixelConv(features, channels, 4, 3, centre=False)
        self.stem = RowConv(features, upper, 3, 3)
        self.row_blocks = nn.ModuleList(RowBlock(upper, upper, 2, 2) for _ in range(upper_depth))
        self.down = nn.Linear(upper, channels)
        self.down_overall = nn.Linear(upper, channels) if overall else None
        self.blocks = nn.ModuleList(PixelBlock(channels, hidden, 2, reach) for _ in range(depth))
        self.position = nn.Parameter(torch.zeros(height, width, channels))
        self.kind = nn.Embedding(kinds, channels)
        self.kind_row = nn.Embedding(kinds, upper)
        self.reading = reading
        self.given, self.given_row = (ConditionEntry.of(Passed.of(reading), n, 0.1) for n in (channels, upper))
        self.reader: nn.Module | None = None
        if planes:
            wide = nn.Conv2d(planes * features, channels, 5, padding=2)
            self.reader = PlaneReader(planes * features, channels, reader, reader_depth) if reader else wide
        self.map_reader: PlaneReader | None = None
        if reading is not None and reading.maps:
            self.map_reader = PlaneReader(reading.maps, channels, reader or channels, reader_depth or 2)
        self.head = zeroed(nn.Linear(channels, n_values))
        self.displacement = Displacement(n_values, channels, moved) if moved else None
        nn.init.normal_(self.kind.weight, std=0.1)
        nn.init.normal_(self.kind_row.weight, std=0.1)

    def forward(
        self,
        x: Tensor,
        kind: Tensor,
        planes: Tensor | None = None,
        cache: PlaneCache | None = None,
        before: Tensor | None = None,
        c: PlaneCondition = PlaneCondition(),  # noqa: B008 (a value)
    ) -> Tensor:
        """Logits, float32.

        Args:
            x: pixel values of whole planes ``(N, H, W)``. With a cache, those just drawn, ``(N,)``, which are
                ignored at the start.
            kind: kinds of the planes, ``(N,)``.
            planes: pixel values of other planes, ``(N, planes, H, W)``, -1 where a plane is not observed.
            cache: a memory of :meth:`cache`, which is advanced by one position.
            before: pixel values of the same plane of the frame before, ``(N, H, W)``, -1 where there is none.
            c: the condition of each plane.

        Returns:
            ``(N, H, W, n_values)``, or ``(N, n_values)`` of the next position.
        """
        if cache is not None:
            return self._step(x, cache)
        f = self.features(x)
        v = self.stem(f) + self._of_rows(kind, c.vector)
        for block in self.row_blocks:
            v = block(v)
        v = F.relu(v)
        above = self.down(v)
        if self.down_overall is not None:
            above = above + self.down_overall(v.amax(2).cummax(1).values)[:, :, None]
        h = self.entry(f) + F.pad(above, (0, 0, 0, 0, 1, 0))[:, :-1] + self._base(kind, planes, c)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(F.relu(h)).float()
        if self.displacement is None or before is None:
            return logits
        there = (before[:, 0, 0] >= 0).nonzero().flatten()
        return logits.index_copy(0, there, self.displacement(logits[there], h[there], x[there], before[there]))

    def condition(self, cond: Tensor | None, batch: int) -> PlaneCondition:
        """The conditions of ``batch`` planes. A place is given all of a picture near it, before it and after it."""
        if self.reading is None or self.map_reader is None:
            return PlaneCondition(read(self.reading, cond, batch))
        maps = self.reading.spread(cond, batch, (self.height, self.width)).to(self.position.dtype)
        return PlaneCondition(self.reading(cond, batch), self.map_reader(maps).permute(0, 2, 3, 1))

    def features(self, x: Tensor) -> Tensor:
        """A constant 1, the value in [-1, 1], whether it is the lowest or highest, and waves: ``(*, F)``."""
        v = torch.linspace(-1, 1, self.n_values, device=x.device)
        angle = v[:, None] * (math.pi / 2 * 2.0 ** torch.arange(self.waves, device=x.device))
        ends = torch.stack([torch.ones_like(v), v, (v == -1).float(), (v == 1).float()], 1)
        return F.embedding(x, torch.cat([ends, angle.sin(), angle.cos()], 1).to(self.position.dtype))

    def cache(
        self,
        kind: Tensor,
        planes: Tensor | None = None,
        before: Tensor | None = None,
        c: PlaneCondition = PlaneCondition(),  # noqa: B008 (a value)
    ) -> PlaneCache:
        """The memory before the first pixel of planes of these kinds and conditions."""
        n = len(kind)
        pixels = [self.entry, *(block.conv for block in self._pixel_blocks())]
        rows = [self.stem, *(block.conv for block in self._row_blocks())]
        base = self._base(kind, planes, c)
        return PlaneCache(
            self._of_rows(kind, c.vector),
            [conv.memory(n, self.width) for conv in rows],
            [conv.memory(n, self.height, self.width) for conv in pixels],
            [conv.matrix() for conv in pixels],
            base.expand(n, self.height, self.width, base.shape[-1]).clone(),
            base.new_zeros(n, self.height, self.width, self.entry.inputs),
            base.new_zeros(n, self.down.in_features),
            None if self.displacement is None or before is None else self.displacement.memory(before),
        )

    def _pixel_blocks(self) -> list[PixelBlock]:
        return [block for block in self.blocks if isinstance(block, PixelBlock)]

    def _row_blocks(self) -> list[RowBlock]:
        return [block for block in self.row_blocks if isinstance(block, RowBlock)]

    def _of_rows(self, kind: Tensor, c: Tensor | None) -> Tensor:
        """The share of kind and condition in the stream of whole rows, ``(N, 1, 1, upper)``."""
        v = self.kind_row(kind)
        return (v if self.given_row is None else v + self.given_row(c, len(kind)))[:, None, None]

    def _base(self, kind: Tensor, planes: Tensor | None, c: PlaneCondition) -> Tensor:
        """Position, kind, condition and known planes, ``(N, H, W, channels)``."""
        h = self.kind(kind)
        base = self.position + (h if self.given is None else h + self.given(c.vector, len(kind)))[:, None, None]
        base = base if c.places is None else base + c.places
        if self.reader is None or planes is None:
            return base
        f = self.features(planes.clamp(min=0)) * (planes >= 0).unsqueeze(-1).to(base.dtype)
        f = f.permute(0, 1, 4, 2, 3).flatten(1, 2)
        return base + self.reader(f).permute(0, 2, 3, 1)

    def _step(self, x: Tensor, cache: PlaneCache) -> Tensor:
        """Write the pixel just drawn, then the logits of the next."""
        row, column = divmod(cache.index, self.width)
        previous = torch.zeros_like(cache.values[:, 0, 0])
        if cache.index:
            last_row, last_column = divmod(cache.index - 1, self.width)
            cache.values[:, last_row, last_column] = previous = self.features(x)
        if row and not column:
            self._next_row(cache, row)
        entry = self.entry
        memory = cache.pixels[0]
        if cache.index:
            memory[:, last_row + entry.rows - 1, last_column + entry.reach] = previous
            if self.displacement is not None and cache.displaced is not None:
                self.displacement.see(x, cache.displaced, last_row, last_column)
        h = entry.step(torch.zeros_like(previous), memory, cache.matrices[0], row, column)
        h = h + cache.base[:, row, column]
        for i, block in enumerate(self._pixel_blocks(), 1):
            h = block.step(h, cache.pixels[i], cache.matrices[i], row, column)
        cache.index += 1
        logits: Tensor = self.head(F.relu(h)).float()
        if self.displacement is None or cache.displaced is None:
            return logits
        return self.displacement.step(logits, h, cache.displaced, row, column)

    def _next_row(self, cache: PlaneCache, row: int) -> None:
        """Run the upper stream over the row just finished, and add its output to the next row."""
        v = self.stem.step(cache.values[:, row - 1 : row], cache.rows[0]) + cache.start
        for block, memory in zip(self._row_blocks(), cache.rows[1:], strict=True):
            v = block.step(v, memory)
        v = F.relu(v).squeeze(1)
        cache.base[:, row] += self.down(v)
        if self.down_overall is not None:
            cache.highest = torch.maximum(cache.highest, v.amax(1))
            cache.base[:, row] += self.down_overall(cache.highest)[:, None]
