"""Objectives and their terms: the losses that training minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from fourfold.core.conditions import Batch
from fourfold.core.estimand import Estimand
from fourfold.core.parts import Part
from fourfold.vocabulary import Principle

__all__ = ["Objective", "Term"]


class Term(nn.Module, ABC):
    """One loss with its own optimizer: ``forward`` returns the unreduced loss, ``updates`` lists the modules it trains.

    Terms run one after the other within a step, each on the same batch. ``watched`` holds scalars of the latest
    forward (detached). The engine logs them, and they show failure modes during training. ``rate`` multiplies
    the learning rates of :class:`Training` for this term alone (two time scales: Heusel et al. 2017,
    https://arxiv.org/abs/1706.08500).

    ``judges`` says whether the loss on held-out examples measures the quality of the weights. It does where the target
    is fixed. It does not where the target moves with the weights, as in a game or in a contrast with the model's own
    samples.

    ``separate`` says whether the loss of an example depends on no other example, so that it has a gradient of its own.
    ``shares_draws`` says whether some random draw, such as that of an order, serves a whole batch.

    Args:
        updates: the modules whose parameters the term trains.
        rate: multiplies the learning rates of :class:`Training` for this term.
    """

    judges: ClassVar[bool] = False
    separate: bool = False
    shares_draws: ClassVar[bool] = False

    def __init__(self, updates: Sequence[nn.Module], rate: float = 1.0) -> None:
        super().__init__()
        self.updates, self.rate = nn.ModuleList(updates), rate
        self.watched: dict[str, Tensor] = {}

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """The loss of each example, ``(B,)``, in float32. Random draws come from torch's generator."""

    def trainable(self) -> list[nn.Parameter]:
        """The parameters this term's optimizer updates."""
        return [p for p in self.updates.parameters() if p.requires_grad]


class Objective(Part, nn.Module, ABC):
    """A loss to minimise: its hyper-parameters, and modules that only training needs (a critic, an encoder)."""

    learns: ClassVar[type[Estimand]]
    principle: ClassVar[Principle]

    @property
    def summary(self) -> str:
        """The training procedure as an imperative: "regress the clean example ..."."""
        return ""

    @property
    def formula(self) -> str:
        """The loss or the quantity to maximise, as a formula of one line."""
        return ""

    def summary_of(self, estimand: Any) -> str:
        """The summary for one estimand, whose parts may be trained differently."""
        return self.summary

    def formula_of(self, estimand: Any) -> str:
        """The formula for one estimand."""
        return self.formula

    @property
    def avoids(self) -> tuple[str, ...]:
        """Names of its paradigm's failure modes that cannot occur with this objective."""
        return ()

    @abstractmethod
    def terms(self, estimand: Any) -> Mapping[str, Term]:
        """The terms by name, in the order in which a step runs them."""
