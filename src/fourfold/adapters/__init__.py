"""Adapters: kinds of models that other libraries train and publish. Wings and third parties add them.

They join by the entry-point group ``fourfold.adapters``, whose points name a class below :class:`Adapter`. What every
adapter needs against folders that may come from anybody is in :mod:`~fourfold.adapters.checks` and
:mod:`~fourfold.adapters.reading`. This module is torch-free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, final

from fourfold.extensions import extensions
from fourfold.settings.declaration import Option

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel
    from fourfold.spaces.texts import TextWriter

__all__ = ["NOTHING", "Adapter", "adapter_of", "adapters", "open_published", "options_of_adapters", "text_writer"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No options."""


class Adapter(ABC):
    """A kind of published models: how to recognise one, and how to open it as a model of this library.

    Nothing is fetched, nothing is unpickled, and no code of a checkpoint runs. The module of an adapter is torch-free,
    and imports other libraries only where a model is opened.
    """

    noun: ClassVar[str]
    """A noun for such a model, as in ``a pipeline of images``."""
    options: ClassVar[Mapping[str, Option | None]] = NOTHING
    """The options of opening one, by name, with their flags on the command line. ``None``: from Python alone."""
    tuning: ClassVar[frozenset[str]] = frozenset()
    """Those of the options that ``fit`` has. Other commands have the rest."""
    trains: ClassVar[bool] = False
    """Whether ``fit`` goes on training such a model."""
    in_training: ClassVar[Mapping[str, Any]] = NOTHING
    """The options with which ``fit`` opens one, unless it is asked for others."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a file or folder looks like such a model, whole or damaged."""

    @abstractmethod
    def load(self, path: Path, options: Mapping[str, Any], device: str) -> GenerativeModel:
        """The model in evaluation mode, on the processor.

        Args:
            path: its file or folder.
            options: some of :attr:`options`.
            device: the type of the device to which the model is moved afterwards.

        Raises:
            ValueError: naming the file and the way out, for what cannot be opened.
        """

    @abstractmethod
    def tokenizer(self, path: Path) -> str:
        """The content of its ``tokenizer.json``.

        Raises:
            ValueError: where it has none that can be read.
        """

    def text_writer(self) -> type[TextWriter] | None:
        """The class that writes texts of a table by such models, or ``None`` if they cannot."""
        return None

    @final
    def open(self, path: Path, options: Mapping[str, Any] = NOTHING, device: str = "cpu") -> GenerativeModel:
        """:meth:`load` the model, if it has all options. Those that are ``None`` are left out.

        Raises:
            ValueError: for an option that such models do not have, or what :meth:`load` raises.
        """
        values = {name: value for name, value in options.items() if value is not None}
        if foreign := sorted(values.keys() - self.options):
            names = ", ".join(self.options) or "no options"
            raise ValueError(f"{path}: {foreign[0]} must be left out for {self.noun}, which has {names}")
        return self.load(path, values, device)


def adapters() -> list[Adapter]:
    """The installed adapters, in alphabetical order of their names."""
    return [point.load()() for point in extensions("fourfold.adapters").values()]


def adapter_of(path: Path | str) -> Adapter | None:
    """The adapter that recognises a file or folder. ``None`` if none does."""
    return next((adapter for adapter in adapters() if adapter.recognises(Path(path))), None)


def text_writer() -> type[TextWriter]:
    """The class that writes texts of a table by a model of language.

    Raises:
        ValueError: where no installed adapter can.
    """
    writer = next((writer for adapter in adapters() if (writer := adapter.text_writer()) is not None), None)
    if writer is None:
        raise ValueError("text_model must be left out: no adapter of models of language is installed")
    return writer


def options_of_adapters(tuning: bool = False) -> dict[str, Option]:
    """The options on the command line of all installed adapters, by name.

    Args:
        tuning: whether those of ``fit`` are meant, or those of other commands.
    """
    return {
        name: option
        for adapter in adapters()
        for name, option in adapter.options.items()
        if option is not None and (name in adapter.tuning) is tuning
    }


def open_published(path: Path | str, options: Mapping[str, Any] = NOTHING) -> GenerativeModel:
    """A published model as a generative model: it samples and scores, and some are trained on.

    Args:
        path: its folder or file.
        options: those of its :class:`Adapter`.

    Raises:
        ValueError: where no installed adapter recognises it, or for what cannot be opened.
    """
    adapter = adapter_of(path)
    if adapter is None:
        nouns = ", ".join(adapter.noun for adapter in adapters()) or "no adapter is installed"
        raise ValueError(f"{path}: must be a published model that is read here ({nouns}): name another folder")
    return adapter.open(Path(path), options)
