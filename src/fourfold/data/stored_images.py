"""Encoded images that stay in their files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.data.captions import LONGEST, SHORTEST
from fourfold.data.errors import DataError, option
from fourfold.data.images import Format, ImageHeader, decode_into, format_of, header_of, notes_of
from fourfold.data.labels import encode_labels
from fourfold.data.records import StoredRecords, digest_of
from fourfold.data.stored import Stored, random_rows
from fourfold.settings.data import DataOptions
from fourfold.spaces import Categories, Images, Lines

__all__ = ["StoredImages"]

PROBED = 512
"""Images whose headers decide on the format of all."""


@final
class StoredImages(Stored):
    """Encoded images, which are decoded when they are needed.

    Args:
        records: the images.
        root: the file or folder, to which names of files are relative in the digest.
        options: size, channels, and whether images that cannot be read are skipped.

    Raises:
        DataError: if no image can be read, or labels are not labels.
    """

    def __init__(self, records: StoredRecords, root: Path, options: DataOptions) -> None:
        self.records, self.root, self.name = records, root, records.name
        if not len(records):
            raise DataError(f"{root}: must hold PNG, JPEG or WebP images, got none")
        self.edges, self.block_bytes, self.official = records.edges, records.block_bytes, records.official
        self.skips = options.skip_bad
        rows = np.sort(random_rows(self, self.edges, np.random.default_rng(0), PROBED)[:PROBED])
        headers = [h for row in rows.tolist() if (h := self._header(row)) is not None]
        if not headers:
            raise DataError(f"{root}: images must be PNG, JPEG or WebP, got {len(rows)}, none of which can be read")
        self.form: Format = format_of(headers, options)
        self.space = Images(self.form.channels, self.form.height, self.form.width)
        remark = "" if len(rows) == len(self) else f" (of {len(self):,}, which were not all looked at)"
        self.notes = tuple(f"{note}{remark}" for note in notes_of(headers, self.form, options))
        self.where = f"{len(records.files):,} file{'s' if len(records.files) > 1 else ''} of {root}, streamed"
        self.columns = records.columns
        if len(records.files) == len(records):
            self.names = [file.relative_to(root).with_suffix("").as_posix() for file in records.files if file != root]
        self._take_labels()
        captions = records.captions(rows) if self.given is None else None
        if captions is not None:
            longest = max(len(caption.encode()) for caption in captions)
            self.given = Lines.of_bytes(min(max(SHORTEST, longest), LONGEST))
        self.hint = "add labels (a column, .cls members, or a folder for each class)"

    def _take_labels(self) -> None:
        labels = self.records.labels()
        if labels is None:
            return
        values, where, names = labels
        self.cond, self.given = encode_labels(values, len(self), where)
        if names is not None and values.dtype.kind in "iu" and values.min() >= 0 and values.max() < len(names):
            self.cond, self.given = torch.from_numpy(values.astype(np.int64)), Categories(tuple(names))

    def _header(self, row: int) -> ImageHeader | None:
        """The format of an image. ``None`` if it cannot be read and such images are skipped."""
        header = header_of(io.BytesIO(self.records.read(np.array([row]))[0]))
        if not isinstance(header, str):
            return header
        if self.skips:
            return None
        raise self._error(row, header)

    def _error(self, row: int, reason: str) -> DataError:
        way = f"replace or remove it, or skip it with {option('skip_bad', True)}"
        if "where others are" in reason:
            way = f"give {option('size', self.form.height)}"
        return DataError(f"{self.records.where(row)}: {reason}: {way}")

    def batches(self, names: Sequence[str]) -> Iterable[Any]:
        return self.records.batches(names)

    def digest(self) -> str:
        return digest_of(self.records.files, self.root)

    def select(self, rows: np.ndarray) -> tuple[Tensor, dict[int, str]]:
        x = np.zeros((len(rows), *self.space.shape), np.uint8)
        skipped: dict[int, str] = {}
        for i, (row, content) in enumerate(zip(rows.tolist(), self.records.read(rows), strict=True)):
            reason = decode_into(x[i], content, self.form)
            if reason and not self.skips:
                raise self._error(row, reason)
            if reason:
                skipped[i] = f"{self.records.where(row)}: {reason}"
        return torch.from_numpy(x), skipped

    def conditions(self, rows: np.ndarray) -> Tensor | None:
        if self.cond is not None or not isinstance(self.given, Lines):
            return super().conditions(rows)
        most = self.given.text.length - 1
        captions = [_shortened(" ".join(caption.split()), most) for caption in self.records.captions(rows) or []]
        return self.given.conditions(captions, len(rows))


def _shortened(caption: str, most: int) -> str:
    """A caption of at most so many bytes."""
    return caption.encode()[:most].decode(errors="ignore")
