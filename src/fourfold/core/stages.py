"""Parts that hold a model which is trained before them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fourfold.core.estimand import Estimand

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["Stage", "Staged"]


class Stage(NamedTuple):
    """A model that is trained before another one which holds it."""

    name: str
    model: GenerativeModel
    share: float
    """Of the whole budget, in (0, 1)."""


class Staged(ABC):
    """A codec or an objective that holds a model which is trained first: a learned codec, a teacher.

    What a stage has trained stays as it is: the later stages' terms do not update it.
    """

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages in their order; they are trained on the raw examples of the model that holds them."""

    @abstractmethod
    def ready(self, estimand: Estimand) -> None:
        """Called once, when the stages are trained and before ``estimand`` is: a student may take a teacher's weights."""
