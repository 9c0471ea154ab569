"""Sounds with transcripts, seen from the other side: texts, each given its sound."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from fourfold.core import decode_captions
from fourfold.data.errors import DataError, option
from fourfold.data.source import Options, Source
from fourfold.spaces import Audio, Pieces, Text, Transcripts

__all__ = ["as_transcripts"]

ROOM = 1.5
"""The most tokens of a text that a space is made for, as a multiple of those of the longest text at hand."""


def as_transcripts(name: str, source: Source, options: Options, space: Transcripts | None = None) -> Source:
    """The transcripts of clips as the examples, and the clips as their conditions.

    Args:
        name: of the data.
        source: clips of sound with transcripts.
        options: how a text is made of tokens, where there is no space yet.
        space: that of a model.

    Raises:
        DataError: for other data, clips that are longer than the model hears, or a text that the space does not hold.
    """
    given = source.space
    if not isinstance(given, Audio) or source.captions is None:
        raise DataError(
            f"{name}: holds no sounds with transcripts: give a folder of sounds with a transcripts.csv (file, "
            "transcript), or a .txt beside each"
        )
    texts = decode_captions(source.captions)
    if space is None:
        text = _tokens(texts, options.tokens)
        most = max(len(text.ids(one)) for one in texts)
        space = Transcripts(dataclasses.replace(text, length=round(ROOM * most) + 1), given.rate, given.length)
    try:
        x = space.parse(texts)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    return dataclasses.replace(
        source, x=x, space=space.conditioned(), captions=None, sounds=_fitted(name, source.x, space, given)
    )


def _tokens(texts: Sequence[str], tokens: str | None) -> Text:
    """Characters, or what was asked for.

    Raises:
        DataError: for tokens of another name.
    """
    if tokens in (None, "chars"):
        return Text("".join(sorted(set("".join(texts)))), 1)
    if tokens == "bytes":
        return Text("", 1)
    found = re.fullmatch(r"bpe:(\d+)", tokens or "")
    if not found:
        raise DataError(f"{option('tokens', tokens)}: tokens of transcripts are chars, bytes or bpe:COUNT: give one")
    try:
        return Text("", 1, pieces=Pieces.learn("\n".join(texts), int(found[1])))
    except ValueError as error:
        raise DataError(f"{option('tokens', tokens)}: {error}") from None


def _fitted(name: str, sounds: Tensor, space: Transcripts, given: Audio) -> Tensor:
    """The clips at the rate and in the length of a space."""
    if given.rate != space.rate:
        raise DataError(f"{name}: its sounds have {given.rate} levels in a second, and the model hears {space.rate}")
    most = space.sound or given.length
    if bool((sounds[:, most:] != 0).any()):
        raise DataError(f"{name}: a sound is longer than the {most / space.rate:.1f} s that the model hears: cut it")
    return torch.nn.functional.pad(sounds[:, :most], (0, max(most - sounds.shape[1], 0)))
