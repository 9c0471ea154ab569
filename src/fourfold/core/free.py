"""Examples of which a part follows from the rest, as the codes of what is free in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor

from fourfold.core.codec import Codec
from fourfold.core.estimand import Estimand
from fourfold.core.model import GenerativeModel, Stage, Staged
from fourfold.core.noise import Noise
from fourfold.core.space import Space
from fourfold.vocabulary import Kind

__all__ = ["FreeCodec", "FreeStages", "whole_model"]


class FreeCodec(Codec):
    """Examples as the codes of what is free in them, see :attr:`.Space.free`. Masses stay as they are.

    Args:
        space: of the examples.
        inner: the codec of what is free.
    """

    def __init__(self, space: Space, inner: Codec) -> None:
        super().__init__()
        self.space, self.inner = space, inner
        self.event = inner.event

    @property
    def measure(self) -> Any:  # type: ignore[override]
        return self.inner.measure

    @property
    def bound(self) -> str:  # type: ignore[override]
        return self.inner.bound

    @property
    def sensitive(self) -> bool:  # type: ignore[override]
        return self.inner.sensitive

    @property
    def rms(self) -> float:  # type: ignore[override]
        return self.inner.rms

    @property
    def decoding(self) -> str:
        return self.inner.decoding

    @property
    def faithful(self) -> bool:
        return self.inner.faithful

    @property
    def random(self) -> bool:
        return self.inner.random

    @property
    def innermost(self) -> Codec:
        return self.inner.innermost

    def variants(self) -> Mapping[str, Codec]:
        return {name: type(self)(self.space, codec) for name, codec in self.inner.variants().items()}

    def kind_of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        return self.inner.kind_of_raw(kind, note)

    def fit(self, x: Tensor) -> None:
        self.inner.fit(self.space.reduce(x))

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        return self.inner.encode(self.space.reduce(x), noise)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return self.space.expand(self.inner.decode(z, noise))


@final
class FreeStages(FreeCodec, Staged):
    """:class:`FreeCodec` whose inner codec holds models that are trained first."""

    def stages(self) -> Sequence[Stage]:
        assert isinstance(self.inner, Staged)
        return [stage._replace(model=whole_model(self.space, stage.model)) for stage in self.inner.stages()]

    def ready(self, estimand: Estimand) -> None:
        assert isinstance(self.inner, Staged)
        self.inner.ready(estimand)


def whole_model(space: Space, model: GenerativeModel) -> GenerativeModel:
    """A model of what is free in examples as one of the examples. Parts are shared."""
    if space.free is space:
        return model
    codec = (FreeStages if isinstance(model.codec, Staged) else FreeCodec)(space, model.codec)
    parts = (model.estimand, model.objective, model.sampler, model.likelihood)
    return GenerativeModel(space, codec, *parts, model.training_defaults)
