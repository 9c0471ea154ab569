"""Samplers: how a sample is drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from fourfold.core.estimand import Estimand
from fourfold.core.noise import Noise
from fourfold.vocabulary import Cost

__all__ = ["Sampler"]


class Sampler(ABC):
    """A way to draw samples: a frozen dataclass of settings, without weights and without a device."""

    needs: ClassVar[type[Estimand]]

    @property
    def summary(self) -> str:
        """The drawing of a sample, as an imperative: "draw noise and map it once"."""
        return ""

    def summary_of(self, estimand: Any) -> str:
        """The summary for one estimand, seen as the sampler needs it: a solver's order depends on the path."""
        return self.summary

    @property
    def formula(self) -> str:
        """The same as a formula of one line."""
        return ""

    @property
    def cost(self) -> Cost | None:
        """The law by which network evaluations of one sample grow. ``None``: that of its paradigm. Counts check it."""
        return None

    @property
    def faithful(self) -> bool:
        """True if samples are draws from the distribution that a likelihood scores. False for means or medians."""
        return True

    def variants(self) -> Mapping[str, Sampler]:
        """The same sampler with other ways to show its draws, by name. Most samplers have one way."""
        return {}

    @abstractmethod
    def __call__(self, estimand: Any, noise: Noise, cond: Tensor | None = None) -> Tensor:
        """Draw ``len(noise)`` encoded examples. Every random number comes from ``noise``."""
