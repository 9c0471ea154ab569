"""Parts that hold a model which is trained first."""

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
    """A codec or an objective that holds a model which is trained first: a learned codec, a teacher.

    Later stages do not change the weights of an earlier one.
    """

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages in their order; they are trained on the raw examples of the model that holds them."""

    @abstractmethod
    def ready(self, estimand: Estimand) -> None:
        """Prepare once, after the stages and before ``estimand`` trains: a student may take its teacher's weights."""
