"""Objectives and their terms: the losses that training minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core.conditions import Batch
from fourfold.core.estimand import Estimand
from fourfold.core.parts import Part
from fourfold.vocabulary import Principle

__all__ = ["LossTerm", "Objective", "Occasional", "SingleLoss", "Term", "Uncompiled"]


class Occasional:
    """A scalar that a term measures at the first and then at every 500th call. Between them it is the last one.

    Compiled terms call it uncompiled: a count of calls would have them compiled again at every step.
    """

    EVERY: ClassVar[int] = 500

    def __init__(self, measure: Callable[..., Tensor]) -> None:
        self.measure, self.calls, self.value = measure, 0, torch.zeros(())

    def latest(self, *arguments: Any) -> Tensor:
        """The scalar, measured with these arguments if it is time."""
        if self.calls % self.EVERY == 0:
            self.value = self.measure(*arguments)
        self.calls += 1
        return self.value


class Uncompiled:
    """A function of a module that compiled terms call as it is: its shapes follow from data, as those of counts do.

    The compiler would cut it into many graphs, and make more of them whenever the shapes change.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Tensor:
        """Call the function."""
        return self.function(*arguments)


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

    judges: bool = False
    separate: bool = False
    shares_draws: bool = False

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


class SingleLoss(Objective):
    """An objective of one term, whose loss is a method: that of most paradigms.

    Attributes:
        term: name of the term in logs.
        judges, shares_draws: as of a :class:`Term`.

    Args:
        label_dropout: share of conditions that training hides, so that the model also learns the distribution without
            one, as classifier-free guidance needs.
    """

    term: ClassVar[str] = "loss"
    judges: ClassVar[bool] = False
    shares_draws: ClassVar[bool] = False

    def __init__(self, label_dropout: float = 0.1) -> None:
        super().__init__()
        self.label_dropout = label_dropout

    @abstractmethod
    def loss(self, estimand: Any, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each example, ``(B,)`` float32, and the scalars that training watches, by name."""

    def updates(self, estimand: Any) -> Sequence[nn.Module]:
        """The modules that the loss trains: by default the estimand."""
        return [estimand]

    def separate(self, estimand: Any) -> bool:
        """Whether the loss of an example depends on no other example: by default no promise."""
        return False

    def terms(self, estimand: Any) -> Mapping[str, Term]:
        return {self.term: LossTerm(estimand, self)}


@final
class LossTerm(Term):
    """The term of a :class:`SingleLoss`."""

    def __init__(self, estimand: nn.Module, objective: SingleLoss) -> None:
        super().__init__(objective.updates(estimand))
        self.estimand, self.objective, self.separate = estimand, objective, objective.separate(estimand)
        self.judges, self.shares_draws = objective.judges, objective.shares_draws

    def forward(self, batch: Batch) -> Tensor:
        loss, watched = self.objective.loss(self.estimand, batch)
        self.watched = dict(watched)
        return loss
