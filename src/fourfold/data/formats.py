"""Formats of data that a wing or a third party reads, by the entry-point group ``fourfold.formats``."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from fourfold.core import Space
from fourfold.data.folders import IMAGES, holds
from fourfold.data.source import Source
from fourfold.extensions import extensions
from fourfold.settings.data import DataOptions

__all__ = ["FileFormat", "examples_alone", "formats"]


class FileFormat(ABC):
    """How the files of a space are recognised and read.

    Attributes:
        things: the examples in the plural, for messages: ``"sounds"``.
        suffixes: endings of the files that hold one example each. A file or a folder of them is of this format.
        settings: those of :class:`~fourfold.settings.data.DataOptions` that only some formats heed.
        axes: the number of axes of an array of examples, or ``None`` where no array is of this format.
    """

    things: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()
    axes: ClassVar[int | None] = None

    def recognises(self, folder: Path) -> bool:
        """True if a folder is of this format, by default if any file below it has one of the suffixes."""
        return holds(folder, self.suffixes)

    @abstractmethod
    def read(self, path: Path, options: DataOptions) -> Source:
        """Read a file or a folder.

        Raises:
            DataError: naming the file and the way out.
        """

    def of_array(self, name: str, x: np.ndarray, options: DataOptions) -> tuple[Tensor, Space]:
        """The raw examples of an array of :attr:`axes` axes, and their space; by default there are none.

        Raises:
            DataError: naming the file and the way out.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no arrays")


@functools.cache
def formats() -> Sequence[FileFormat]:
    """The formats that are installed beside those of fourfold, in alphabetical order of their names."""
    return [point.load()() for point in extensions("fourfold.formats").values()]


def examples_alone() -> tuple[str, ...]:
    """The endings of files that hold one example each, such as an image."""
    return (*IMAGES, *(suffix for form in formats() for suffix in form.suffixes))
