"""How networks read conditions: one file for each kind of space, and any other space as its numbers."""

from __future__ import annotations

from functools import singledispatch

from fourfold.core import Reading, Space
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.reading.numbers import NumberReading
from fourfold.nn.reading.pictures import PictureReading
from fourfold.nn.reading.rows import RowReading, categories_of
from fourfold.nn.reading.sequences import SequenceReading
from fourfold.nn.reading.sounds import SoundReading
from fourfold.nn.reading.texts import TextReading
from fourfold.nn.reading.together import TogetherReading
from fourfold.nn.text_encoder import ByteEncoder, text_encoder
from fourfold.spaces import Audio, Categories, Images, Lines, Sequences, Table, Text, Together

__all__ = ["reading", "reading_of"]


def reading_of(space: Space) -> Reading | None:
    """The reading of the conditions of a space, or ``None`` where it has none."""
    return None if space.given is None else reading(space.given)


@singledispatch
def reading(given: Space) -> Reading:
    """How networks read examples of a space as conditions. A third party registers a reading of its own space."""
    return NumberReading(given.dims)


@reading.register
def _(given: Categories) -> Reading:
    return LabelReading(given.count)


@reading.register
def _(given: Lines) -> Reading:
    length = given.text.length
    bytewise = given.text.token == "byte"
    return TextReading(text_encoder(length) if bytewise else ByteEncoder(length, tokens=given.tokens), given.end)


@reading.register
def _(given: Text) -> Reading:
    return TextReading(ByteEncoder(given.length, tokens=given.tokens), given.tokens)


@reading.register
def _(given: Audio) -> Reading:
    return SoundReading(given.rate)


@reading.register
def _(given: Sequences) -> Reading:
    return SequenceReading(categories_of(given.modelled), given.length, given.at, given.key is not None)


@reading.register
def _(given: Table) -> Reading:
    return RowReading(categories_of(given.modelled))


@reading.register
def _(given: Together) -> Reading:
    return TogetherReading(given, [reading(part) for part in given.parts])


@reading.register
def _(given: Images) -> Reading:
    return PictureReading((given.channels, given.height, given.width), given.n_values)
