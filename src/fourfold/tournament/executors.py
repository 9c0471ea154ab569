"""Where the runs of a comparison are made: on this machine one after the other, or elsewhere by an executor of a wing.

Executors join by the entry-point group ``fourfold.executors``, whose points name a dataclass below :class:`Executor`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from fourfold.extensions import extensions
from fourfold.machine.hardware import find_device
from fourfold.output.printable import one_of
from fourfold.settings.declaration import options_of
from fourfold.tournament.jobs import Job, Outcome, run
from fourfold.tournament.settings import Settings

__all__ = ["Executor", "Here", "executor_of"]


class Executor(ABC):
    """Makes the runs of a comparison. A wing's executor is a dataclass. Its fields are its declared settings."""

    @abstractmethod
    def device(self, name: str) -> str:
        """The device of all runs, for the device that the settings name.

        Raises:
            ValueError: if there is no such device.
        """

    @abstractmethod
    def outcomes(
        self, jobs: Sequence[Job], settings: Settings, progress: bool = True
    ) -> Generator[Outcome, None, None]:
        """Make the run of each job, and yield the outcomes as they come."""


class Here(Executor):
    """Makes the runs on this machine, one after the other, each in a process of its own."""

    def device(self, name: str) -> str:
        return str(find_device(name))

    def outcomes(
        self, jobs: Sequence[Job], settings: Settings, progress: bool = True
    ) -> Generator[Outcome, None, None]:
        for job in jobs:
            yield run(job, Path(settings.runs_dir), settings.resume, progress)


def executor_of(text: str | None) -> Executor:
    """The executor that a text names, as ``NAME`` or ``NAME:SETTING=VALUE,...``. Without a text, :class:`Here`.

    Raises:
        ValueError: for an executor that is not installed, a setting that it does not have, or a wrong value.
    """
    if text is None:
        return Here()
    name, _, rest = text.partition(":")
    executors = extensions("fourfold.executors")
    if name not in executors:
        raise ValueError(f"executor must be one of {', '.join(executors) or 'none that is installed'}, got {name!r}")
    kind = executors[name].load()
    return kind(**_settings(kind, text, [item.partition("=") for item in rest.split(",") if item]))


def _settings(kind: type, text: str, items: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """The settings of an executor, in their declared types."""
    options, values = options_of(kind), dict[str, Any]()
    for key, _, value in items:
        if key not in options:
            raise ValueError(f"executor {text!r}: setting must be {one_of(key, options)}")
        try:
            values[key] = options[key].type(value)
        except ValueError:
            raise ValueError(f"executor {text!r}: {key} must be a number, got {value!r}") from None
    return values
