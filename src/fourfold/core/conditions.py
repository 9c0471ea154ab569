"""Batches and conditions: class labels, captions or sounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

__all__ = ["Batch", "Condition", "Conditions", "decode_captions", "encode_captions", "forgetful"]


class Batch(NamedTuple):
    """Encoded examples and their conditions."""

    x: Tensor
    """``(B, *event)``, as the codec encodes them."""
    cond: Tensor | None = None
    """``(B,)`` class labels, where -1 means "unknown", or ``(B, L)`` bytes of captions padded with -1, where a row of
    -1 alone means "unknown", or ``(B, N)`` audio samples, int16, where zeros at the end are padding. ``None`` means
    that all are unknown."""


def forgetful(cond: Tensor | None, share: float) -> Tensor | None:
    """Hide each label or caption (-1) with probability ``share``, so that one network learns two models."""
    if cond is None or share == 0:
        return cond
    hidden = torch.rand(len(cond), *[1] * (cond.ndim - 1), device=cond.device) < share
    return torch.where(hidden, -1, cond)


class Conditions:
    """The conditions of a space: examples may come with a class label, with a caption or with a sound.

    Attributes:
        classes: number of class labels that examples are conditional on, or ``None``.
        class_names: names of the labels, empty where they have none.
        caption: the most bytes of a caption that examples are conditional on, or ``None``.
        sound: the most audio samples of a sound that examples are conditional on, or ``None``.
    """

    classes: int | None = None
    class_names: tuple[str, ...] = ()
    caption: int | None = None
    sound: int | None = None

    @property
    def conditional(self) -> bool:
        """True if examples come with a label, a caption or a sound."""
        return self.classes is not None or self.caption is not None or self.sound is not None

    def conditioned(
        self, class_names: tuple[str, ...] = (), caption: int | None = None, sound: int | None = None
    ) -> Self:
        """The space of the same examples with classes, captions or sounds of some length. By default without any.

        Raises:
            ValueError: for a condition for which this space has no field.
        """
        values = {"classes": len(class_names) or None, "class_names": class_names, "caption": caption, "sound": sound}
        names = {field.name for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        foreign = next((name for name, value in values.items() if value and name not in names), None)
        if foreign is not None:
            raise ValueError(f"{type(self).__name__} has no field {foreign!r}: load it without conditional")
        return dataclasses.replace(self, **{name: values[name] for name in names & values.keys()})  # type: ignore[type-var]

    def _check_classes(self) -> None:
        """Refuse a number of classes that does not fit their names (``ValueError``)."""
        if (self.classes is not None and self.classes < 1) or (
            self.class_names and len(self.class_names) != self.classes
        ):
            raise ValueError(f"class_names must be {self.classes}, got {len(self.class_names)}: name all or none")


Condition: TypeAlias = int | str | Sequence[str] | Tensor | None
"""The condition of samples: one label or caption for all, one for each, or none."""


def encode_captions(captions: Sequence[str], length: int) -> Tensor:
    """The UTF-8 bytes of captions, ``(B, length)`` int64, padded with -1. An empty caption is "unknown".

    Raises:
        ValueError: for a caption of more than ``length`` bytes.
    """
    codes = torch.full((len(captions), length), -1)
    for i, caption in enumerate(captions):
        content = caption.encode()
        if len(content) > length:
            raise ValueError(f"caption {caption[:40]!r}... must have at most {length} bytes, got {len(content)}")
        codes[i, : len(content)] = torch.tensor(list(content), dtype=torch.long)
    return codes


def decode_captions(codes: Tensor) -> list[str]:
    """The captions whose bytes are the rows of ``(B, L)``; "unknown" is the empty string."""
    return [bytes(code for code in row if code >= 0).decode(errors="replace") for row in codes.tolist()]


def condition_codes(space: Conditions, n: int, cond: Condition, device: torch.device) -> Tensor | None:
    """Encode the condition of ``n`` samples: labels ``(n,)``, bytes or audio samples ``(n, L)``, or ``None``.

    Raises:
        ValueError: for n < 1, or a condition that the space does not have.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if cond is None:
        return None
    if space.caption is not None:
        return _captions(n, cond, space.caption).to(device)
    if space.sound is not None:
        return _sounds(n, cond, space.sound).to(device)
    if space.classes is None:
        raise ValueError("cond must be left out, since this model is unconditional")
    return _class_labels(n, cond, space.classes).to(device)


def _class_labels(n: int, cond: Condition, classes: int) -> Tensor:
    """``n`` labels, ``(n,)`` int64."""
    if isinstance(cond, str) or (isinstance(cond, Sequence) and any(isinstance(c, str) for c in cond)):
        raise ValueError(f"cond must be class labels 0 .. {classes - 1}, got text: give numbers")
    labels = torch.as_tensor(cond, dtype=torch.long)
    labels = labels.expand(n) if labels.ndim == 0 else labels
    if labels.shape != (n,) or int(labels.min()) < -1 or int(labels.max()) >= classes:
        raise ValueError(f"cond must be a label or {n} labels between 0 and {classes - 1} (-1: unknown)")
    return labels


def _captions(n: int, cond: Condition, length: int) -> Tensor:
    """The bytes of ``n`` captions, ``(n, length)`` int64."""
    if isinstance(cond, str):
        return encode_captions([cond], length).expand(n, -1)
    if isinstance(cond, Tensor) and cond.ndim == 2 and len(cond) == n and not cond.is_floating_point():
        if cond.shape[1] <= length and (not cond.numel() or (int(cond.min()) >= -1 and int(cond.max()) <= 255)):
            return cond.long()
    elif isinstance(cond, Sequence) and len(cond) == n and all(isinstance(c, str) for c in cond):
        return encode_captions(cond, length)
    raise ValueError(f"cond must be a caption, or {n} captions, of at most {length} bytes: give texts")


def _sounds(n: int, cond: Condition, most: int) -> Tensor:
    """The audio samples of ``n`` sounds, ``(n, L)`` int16."""
    if not isinstance(cond, Tensor) or cond.dtype != torch.int16 or cond.ndim not in (1, 2):
        raise ValueError("cond must be a sound, int16 (L,) for all samples or one row for each: give its audio samples")
    sounds = cond.expand(n, -1) if cond.ndim == 1 else cond
    if len(sounds) != n or bool((sounds[:, most:] != 0).any()):
        raise ValueError(
            f"cond must be one sound, or {n}, of at most {most:,} audio samples each, got the shape {tuple(cond.shape)}"
        )
    return sounds[:, :most]
