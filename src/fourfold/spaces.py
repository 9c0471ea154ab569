"""The spaces: what one raw example is. A raw batch is one tensor; a space checks it and says in which unit it is scored."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.printable import shortened

__all__ = ["Images", "Text", "Vectors"]


@dataclass(frozen=True)
class Vectors(Space):
    """Real vectors: raw batches are float32 ``(B, dim)``.

    Attributes:
        dim: number of columns.
        columns: their names, empty where they have none.
        classes: number of class labels, or ``None``.
        class_names: names of the labels, empty where they have none.
    """

    dim: int
    columns: tuple[str, ...] = field(default=())
    classes: int | None = None
    class_names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.dim < 1 or len(self.columns) not in (0, self.dim):
            raise ValueError(f"vectors of {self.dim} columns cannot have the names {self.columns}: name all or none")
        _check_classes(self.classes, self.class_names)

    def __str__(self) -> str:
        columns = f" ({shortened(self.columns, 6)})" if self.columns else ""
        return f"real vectors of {self.dim} column{'s' * (self.dim != 1)}{columns}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dim,)

    @property
    def unit(self) -> str:
        return "nats"

    def check(self, x: Tensor) -> None:
        _check_shape(x, self.shape, "vectors")
        if not x.is_floating_point():
            raise ValueError(f"vectors are floating point, not {x.dtype}: convert with .float()")
        bad = (~torch.isfinite(x)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            name = self.columns[column] if self.columns else str(column)
            raise ValueError(
                f"row {row}, column {name}: {x[row, column].item()} is not a finite number; drop or fill it"
            )


@dataclass(frozen=True)
class Images(Space):
    """Images of integer levels: raw batches are uint8 ``(B, channels, height, width)`` with values below ``levels``.

    Attributes:
        channels, height, width: the size of one image.
        levels: how many values a pixel can take (256 for 8 bits, 17 for scikit-learn's digits).
        classes: number of class labels, or ``None``.
        class_names: names of the labels, empty where they have none.
        caption: the most bytes of a caption, where images are conditional on captions.
    """

    channels: int
    height: int
    width: int
    levels: int = 256
    classes: int | None = None
    class_names: tuple[str, ...] = field(default=())
    caption: int | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not 2 <= self.levels <= 256:
            raise ValueError(
                f"images of shape {self.shape} with {self.levels} levels: give sizes >= 1, levels 2 .. 256"
            )
        if self.caption is not None and (self.caption < 1 or self.classes is not None):
            raise ValueError("images are conditional on classes or on captions of at least 1 byte: give one of them")
        _check_classes(self.classes, self.class_names)

    def __str__(self) -> str:
        kind = {1: "grey", 3: "colour"}.get(self.channels, f"{self.channels}-channel")
        return f"{kind} images of {self.height} x {self.width} pixels with {self.levels} levels"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width)

    @property
    def unit(self) -> str:
        return "bits/dim"

    def check(self, x: Tensor) -> None:
        _check_shape(x, self.shape, "images")
        if x.dtype != torch.uint8:
            raise ValueError(f"images are uint8, not {x.dtype}: give integer levels 0 .. {self.levels - 1}")
        if self.levels == 256 or not len(x):
            return
        over = (x.flatten(1).amax(1) >= self.levels).nonzero()
        if len(over):
            raise ValueError(f"image {over[0].item()} has a value above {self.levels - 1}: raise levels or rescale it")


@dataclass(frozen=True)
class Text(Space):
    """Text as token ids: raw batches are integers ``(B, length)``; an example is a window of a text.

    Attributes:
        vocabulary: the characters, in the order of their ids; empty for bytes (256 ids).
        length: tokens in one window.
    """

    vocabulary: str = ""
    length: int = 256
    classes: None = None

    def __post_init__(self) -> None:
        if self.length < 1 or len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("text needs windows of at least one token and a vocabulary without repeated characters")

    def __str__(self) -> str:
        kind = f"{self.tokens} characters" if self.vocabulary else "bytes"
        return f"text over {kind}, in windows of {self.length}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def tokens(self) -> int:
        """The number of distinct ids."""
        return len(self.vocabulary) or 256

    @property
    def unit(self) -> str:
        return "nats/char" if self.vocabulary else "bits/byte"

    def check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.is_floating_point() or x.dtype == torch.bool:
            raise ValueError(
                f"text is integer ids of shape (B, L), not {x.dtype} {tuple(x.shape)}: use space.parse(text)"
            )
        if x.numel() and (int(x.min()) < 0 or int(x.max()) >= self.tokens):
            raise ValueError(
                f"ids must lie between 0 and {self.tokens - 1}: was the text parsed with another vocabulary?"
            )

    def parse(self, text: str) -> Tensor:
        """The ids of a text, ``(L,)`` int64.

        Raises:
            ValueError: for a character outside the vocabulary, with its position.
        """
        return self.ids(text if self.vocabulary else text.encode()).long()

    def parse_bytes(self, content: bytes) -> Tensor:
        """The ids of bytes, ``(L,)`` int64."""
        return self.ids(content).long()

    def ids(self, text: str | bytes) -> Tensor:
        """The ids of characters or of bytes in as little memory as they need: ``(L,)`` uint8, or int32 above 256.

        Raises:
            ValueError: for a character outside the vocabulary, with its position.
        """
        if isinstance(text, bytes):
            return torch.from_numpy(np.frombuffer(bytearray(text), dtype=np.uint8))
        found = np.empty(len(text), dtype=np.uint8 if self.tokens <= 256 else np.int32)
        table = np.full(sys.maxunicode + 1, -1, dtype=np.int32)
        table[_codes(self.vocabulary)] = np.arange(len(self.vocabulary))
        for start in range(0, len(text), 1 << 20):
            ids = table[_codes(text[start : start + (1 << 20)])]
            foreign = np.flatnonzero(ids < 0)
            if len(foreign):
                at = start + int(foreign[0])
                raise ValueError(
                    f"character {text[at]!r} at position {at} is not in the vocabulary: train on bytes, or remove it"
                )
            found[start : start + len(ids)] = ids
        return torch.from_numpy(found)

    def show(self, ids: Tensor) -> str:
        """The text of ``(L,)`` ids; bytes that are not UTF-8 are replaced."""
        if not self.vocabulary:
            return bytes(ids.tolist()).decode(errors="replace")
        return "".join(self.vocabulary[i] for i in ids.tolist())


def _check_shape(x: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Refuse a batch whose examples have another shape."""
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        raise ValueError(f"expected {what} of shape (B, {', '.join(map(str, shape))}), got {tuple(x.shape)}")


def _check_classes(classes: int | None, names: tuple[str, ...]) -> None:
    """Refuse a number of classes that does not fit their names."""
    if (classes is not None and classes < 1) or (names and len(names) != classes):
        raise ValueError(f"{classes} classes cannot have {len(names)} names: name all or none")


def _codes(text: str) -> np.ndarray:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
