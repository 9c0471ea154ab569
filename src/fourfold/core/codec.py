"""Maps between raw examples and what a network models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from fourfold.core.noise import Noise
from fourfold.core.parts import Part
from fourfold.vocabulary import Kind

__all__ = ["CachedCodec", "Codec", "Measure"]


class Measure:
    """Names of the base measure an encoded example's probability refers to."""

    COUNTING: ClassVar[str] = "counting"
    LEBESGUE: ClassVar[str] = "lebesgue"


class Codec(Part, nn.Module, ABC):
    """A map between raw examples and what a network models: the only place where data is rescaled.

    ``measure`` says whether an encoded example has a mass or a density; ``dequantises`` whether encoding adds noise to
    integers, in which case an exact log-density of the reals is a lower bound on the log-mass of the integers. ``bound``
    gives the reason in words why an exact likelihood of codes only bounds that of raw examples from below, where it does.
    """

    measure: ClassVar[str]
    dequantises: ClassVar[bool] = False
    bound: ClassVar[str] = ""

    @property
    def decoding(self) -> str:
        """How a learned codec decodes, as a clause in plain English; empty for a map that is its own inverse."""
        return ""

    @property
    def faithful(self) -> bool:
        """Whether decoding draws ``x ~ p(x | z)``, as a likelihood supposes, and shows no mean or median instead."""
        return True

    def variants(self) -> Mapping[str, Codec]:
        """The same codec with other ways to decode, by name; most codecs have one way."""
        return {}

    @property
    def random(self) -> bool:
        """Whether :meth:`encode` draws: a likelihood is then drawn several times whole, codec included."""
        return self.dequantises

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        """What the codec makes of a likelihood's kind: an exact one of codes may only bound that of raw examples."""
        if not self.bound or kind in (Kind.NONE, Kind.UNNORMALISED):
            return kind, note
        return kind.bounded, f"{note}; {self.bound}".lstrip("; ")

    @abstractmethod
    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """Encode raw ``(B, *shape)``; return the code and ``log |det d code / d x|`` of shape ``(B,)``, in nats.

        A learned codec draws ``z ~ q(z | x)`` and returns ``log p(x | z) - log q(z | x)``, which plays the same part.
        ``noise`` is the stream of what is drawn; without one, torch's generator is used.
        """

    @abstractmethod
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        """Decode to raw examples, clipped and rounded to what the space allows.

        ``noise`` is the stream for a codec that draws ``x ~ p(x | z)``; most decode without.
        """

    @abstractmethod
    def fit(self, x: Tensor) -> None:
        """Set the codec's own statistics from raw training data; most codecs have none."""


class CachedCodec(Codec):
    """A codec whose costly part is the same whenever an example is met, so that training does it once and keeps it."""

    @abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """What is kept of raw examples, ``(B, *)``: a function of ``x`` alone, such as a posterior's parameters."""

    @abstractmethod
    def draw(self, kept: Tensor) -> Tensor:
        """Codes ``(B, *event)`` of what is kept, at little cost; whatever is drawn comes from torch's generator."""
