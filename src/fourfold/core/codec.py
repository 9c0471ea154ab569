"""Maps between raw examples and the codes that a network models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from fourfold.core.measure import Measure
from fourfold.core.noise import Noise
from fourfold.core.parts import Part
from fourfold.vocabulary import Kind

__all__ = ["CachedCodec", "Codec", "TokenwiseCodec"]


class Codec(Part, nn.Module, ABC):
    """A map between raw examples and the codes that a network models: the only place where data is rescaled.

    Attributes:
        measure: the measure of the codes: their probabilities are masses or densities. An estimand of the other kind is
            refused.
        bound: the reason why an exact likelihood of codes is only a lower bound for raw examples. Empty where it stays
            exact.
        sensitive: true if decoding enlarges rounding errors, as iterated phases do.
        rms: approximate root mean square of the codes of training data.
        event: shape of one code. Recipes read it, and a third party's codec may leave it out.
    """

    measure: ClassVar[Measure]
    bound: ClassVar[str] = ""
    sensitive: ClassVar[bool] = False
    rms: ClassVar[float] = 1.0
    event: tuple[int, ...]

    @property
    def decoding(self) -> str:
        """The decoding of a learned codec, as a clause in plain English. Empty for a codec that is not learned."""
        return ""

    @property
    def faithful(self) -> bool:
        """True if :meth:`decode` draws ``x ~ p(x | z)``. False if it returns the mean or the median."""
        return True

    @property
    def innermost(self) -> Codec:
        """The codec that makes the codes: this one, or the one that it wraps."""
        return self

    def variants(self) -> Mapping[str, Codec]:
        """The same codec with other ways to decode, by name. Most codecs have one way."""
        return {}

    @property
    def random(self) -> bool:
        """True if :meth:`encode` draws random numbers. Likelihoods are then averaged over several draws."""
        return False

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        """The kind that a likelihood of codes has for raw examples: an exact one may only be a bound for them."""
        if not self.bound or kind in (Kind.NONE, Kind.UNNORMALISED):
            return kind, note
        return kind.bounded, f"{note}; {self.bound}".lstrip("; ")

    @abstractmethod
    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """Encode raw ``(B, *shape)``. Return the code and ``log |det d code / d x|`` of shape ``(B,)``, in nats.

        A learned codec draws ``z ~ q(z | x)`` and returns ``log p(x | z) - log q(z | x)``, which plays the same part.
        Random numbers come from the stream ``noise``. Without one, from torch's generator.
        """

    @abstractmethod
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        """Decode to raw examples, clipped and rounded to the values of the space.

        A codec that draws ``x ~ p(x | z)`` takes random numbers from ``noise``. Most codecs need none.
        """

    def fit(self, x: Tensor) -> None:
        """Set the codec's statistics from raw training data. Most codecs have none."""


class CachedCodec(Codec):
    """A codec whose costly part is a fixed function of the example, so that training computes it once and stores it."""

    @abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """The costly part, ``(B, *)``: a function of ``x`` alone, such as a posterior's parameters."""

    @abstractmethod
    def draw(self, analysis: Tensor) -> Tensor:
        """Codes ``(B, *event)`` from the result of :meth:`analyse`. Random numbers come from torch's generator."""


class TokenwiseCodec(Codec):
    """A codec of one token for each value of a raw example, so that some values can be given and others drawn.

    Attributes:
        sizes: the number of tokens of each value, in the order of the flattened example.
    """

    sizes: tuple[int, ...]

    @abstractmethod
    def tokenize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of raw ``(B, *shape)`` and ``log p(value | token)`` in nats, both ``(B, L)``.

        A value that no token stands for has the log-mass ``-inf``, and any token.
        """

    @abstractmethod
    def decode(self, z: Tensor, noise: Noise | None = None, restrictions: Mapping[int, Tensor] | None = None) -> Tensor:
        """Decode as :meth:`Codec.decode` does. Positions with ``restrictions`` get one of these values."""

    @abstractmethod
    def log_shares(self, position: int, values: Tensor) -> Tensor:
        """``log P(value is in values | token)`` of each token of one position, ``(sizes[position],)`` float64."""

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        z, log_mass = self.tokenize(x)
        return z, log_mass.double().sum(1).float()
