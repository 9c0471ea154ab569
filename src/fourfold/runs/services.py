"""Services: what a person asks of some runs piece by piece, such as a dialogue. Wings and third parties add them.

They join by the entry-point group ``fourfold.services``, whose points name a class below :class:`Service`. A page or a
program asks each whether a run has it, so that it knows no kind of model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import ClassVar, final

from fourfold.extensions import extensions
from fourfold.runs.run import Run
from fourfold.tasks.language import Shaping

__all__ = ["Input", "Piece", "Question", "Service", "services"]


class Input(StrEnum):
    """The form of a question."""

    DIALOGUE = "dialogue"
    """Turns, alternately of a person and of the model, the last of a person."""
    TEXT = "text"
    """A text that a person types."""
    SOUND = "sound"
    """A file of sound."""


@final
@dataclass(frozen=True)
class Question:
    """A question of a person.

    Attributes:
        texts: the turns of a dialogue, or a text so far.
        file: of sound.
        length: tokens of an answer, at most.
        seed: of the answer.
        shaping: the rules of drawing.
    """

    texts: tuple[str, ...] = ()
    file: Path | None = None
    length: int = 256
    seed: int = 0
    shaping: Shaping = field(default_factory=Shaping)


@final
@dataclass(frozen=True)
class Piece:
    """A part of an answer, as soon as it is there.

    Attributes:
        text: goes on with the answer in a dialogue, is a word that may come next, or what was said.
        probability: of the word.
        start, end: the part of the sound, in seconds.
        nats: ``log p`` of what was said.
    """

    text: str
    probability: float | None = None
    start: float | None = None
    end: float | None = None
    nats: float | None = None


class Service(ABC):
    """A service that some runs have for a person.

    Attributes:
        title: its name for a person, such as ``Chat``.
        reads: the form of its questions.
    """

    title: ClassVar[str]
    reads: ClassVar[Input]

    @abstractmethod
    def fits(self, run: Run) -> bool:
        """Whether a run has it."""

    @abstractmethod
    def answer(self, run: Run, question: Question) -> Iterator[Piece]:
        """The answer in pieces.

        Raises:
            ValueError: for a question that the run cannot answer.
        """

    def note(self, run: Run) -> str:
        """A sentence on what a run is not made for. Empty where there is nothing to say."""
        return ""


@cache
def services() -> Mapping[str, Service]:
    """The installed services by name."""
    return {name: point.load()() for name, point in extensions("fourfold.services").items()}
