"""Parts that hold a model that is trained first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fourfold.core.estimand import Estimand

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["Stage", "Staged"]


class Stage(NamedTuple):
    """A model that is trained before the model that holds it."""

    name: str
    model: GenerativeModel
    share: float
    """Its share of the whole budget, in (0, 1)."""


class Staged(ABC):
    """A codec or an objective that holds a model that is trained first, such as a learned codec or a teacher.

    Later stages do not change the weights of an earlier one.
    """

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages in the order of training, each on the raw examples of the model that holds them."""

    @abstractmethod
    def ready(self, estimand: Estimand) -> None:
        """Called once between the stages and the training of ``estimand``: a student may take its teacher's weights."""
