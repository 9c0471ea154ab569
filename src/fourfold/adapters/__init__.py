"""Adapters: kinds of models that other libraries train and publish. Wings and third parties add them.

They join by the entry-point group ``fourfold.adapters``, whose points name a class below :class:`Adapter`. What every
adapter needs against folders that may come from anybody is in :mod:`~fourfold.adapters.checks` and
:mod:`~fourfold.adapters.reading`. This module is torch-free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from fourfold.extensions import extensions

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel

__all__ = ["Adapter", "Opening", "adapter_of", "adapters", "open_published"]


@final
@dataclass(frozen=True)
class Opening:
    """How a published model is opened.

    Attributes:
        length: tokens in one window of text; by default 256, or the context of the model if that is shorter.
        lora: rank of the matrices that training adds and changes instead of the model's own; ``None``: all are trained.
        language: that of the sound, for a model of speech that knows several.
        weights: ``float32``; or ``int8`` for a language model whose linear layers are rounded.
    """

    length: int | None = None
    lora: int | None = None
    language: str | None = None
    weights: str = "float32"


class Adapter(ABC):
    """A kind of published models: how to recognise one, and how to open it as a model of this library.

    Nothing is fetched, nothing is unpickled, and no code of a checkpoint runs. The module of an adapter imports what is
    heavy only where a model is opened.
    """

    noun: ClassVar[str]
    """A noun for such a model, as in ``a pipeline of images``."""
    options: ClassVar[frozenset[str]] = frozenset()
    """The fields of :class:`Opening` that it heeds."""
    trains: ClassVar[bool] = False
    """Whether ``fit`` goes on training such a model."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a file or folder looks like such a model, whole or damaged."""

    @abstractmethod
    def load(self, path: Path, opening: Opening) -> GenerativeModel:
        """The model in evaluation mode, on the processor.

        Raises:
            ValueError: naming the file and the way out, for what cannot be opened.
        """

    @abstractmethod
    def tokenizer(self, path: Path) -> str:
        """The content of its ``tokenizer.json``.

        Raises:
            ValueError: where it has none that can be read.
        """

    @final
    def open(self, path: Path, opening: Opening) -> GenerativeModel:
        """:meth:`load` the model, if it heeds all that is asked for.

        Raises:
            ValueError: for an option that such models do not have, or what :meth:`load` raises.
        """
        for field in fields(Opening):
            value = getattr(opening, field.name)
            if value != field.default and field.name not in self.options:
                raise ValueError(
                    f"{path}: {field.name} must be {field.default} for {self.noun}, got {value}: leave it out"
                )
        return self.load(path, opening)


def adapters() -> list[Adapter]:
    """The installed adapters, in alphabetical order of their names."""
    return [point.load()() for point in extensions("fourfold.adapters").values()]


def adapter_of(path: Path | str) -> Adapter | None:
    """The adapter that recognises a file or folder; ``None`` if none does."""
    return next((adapter for adapter in adapters() if adapter.recognises(Path(path))), None)


def open_published(
    path: Path | str,
    length: int | None = None,
    lora: int | None = None,
    language: str | None = None,
    weights: str = "float32",
) -> GenerativeModel:
    """A published model as a generative model: it samples and scores, and some are trained on.

    Args:
        path: its folder or file.
        length: see :class:`Opening`, like the others.
        lora: rank of the matrices that training adds.
        language: that of the sound.
        weights: ``float32`` or ``int8``.

    Raises:
        ValueError: where no installed adapter recognises it, or for what cannot be opened.
    """
    adapter = adapter_of(path)
    if adapter is None:
        nouns = ", ".join(adapter.noun for adapter in adapters()) or "no adapter is installed"
        raise ValueError(f"{path}: must be a published model that is read here ({nouns}): name another folder")
    return adapter.open(Path(path), Opening(length, lora, language, weights))
