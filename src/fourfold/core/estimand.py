"""Modules with a mathematical meaning."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from fourfold.core.codec import Codec
from fourfold.core.measure import Measure
from fourfold.core.parts import Part
from fourfold.vocabulary import Cost

__all__ = ["E", "Estimand"]


E = TypeVar("E", bound="Estimand")


class Estimand(Part, nn.Module, ABC):
    """A module with a mathematical meaning, independent of how it was learned.

    Its network is a child module named ``net``. :func:`count_evaluations` counts the calls of :attr:`networks`.
    ``event`` is the shape of one encoded example. Times ``t`` and conditions have the shapes ``(B,)`` and
    ``(B, *)``. ``cost`` overrides the sampler's cost law where
    drawing a sample follows another law. Both are checked by counting. ``reads_condition`` is true where conditions are
    read without a :class:`~fourfold.core.Reading`. ``rows_at_once`` is how many samples are best drawn at once, where
    that is not a matter of their size alone. ``fitted`` is true where :meth:`fit` alone makes a model, which steps only
    improve.
    """

    event: tuple[int, ...]
    cost: ClassVar[Cost | None] = None
    reads_condition: ClassVar[bool] = False
    rows_at_once: ClassVar[int | None] = None
    fitted: ClassVar[bool] = False

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Take from raw training examples and their conditions what is not learned by steps: counts, or trees.

        Most estimands take nothing. This comes before the first step, counts as training, and its draws are seeded. The
        steps go on from it, so budget, checkpoints and the choice by held-out examples are those of every model.

        Args:
            x: raw training examples ``(N, *shape)``.
            cond: their conditions ``(N, *)``, or ``None``.
            codec: encodes them. Its own statistics are set.
        """

    def start(self, x: Tensor, codec: Codec) -> None:
        """Begin at a closed form of raw examples whose coordinates are independent, where that is simple.

        Training under a guarantee of privacy has such examples: they are drawn from noised counts.

        Args:
            x: raw examples ``(N, *shape)``.
            codec: encodes them. Its own statistics are set.
        """

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks whose calls are its evaluations: ``net``, but for an estimand that has several."""
        net = getattr(self, "net", None)
        return (net,) if isinstance(net, nn.Module) else ()

    @property
    def measure(self) -> Measure | None:
        """The measure of its likelihood (masses or densities). ``None``: it has none, or the measure is not known."""
        return None

    @property
    def summary(self) -> str:
        """Its meaning as a noun phrase: "the score of ...". If empty, the words of its paradigm are used."""
        return ""
