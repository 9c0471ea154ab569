"""Captions as conditions, and as rows of bytes that are padded with -1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fourfold.spaces import Lines


def encode_captions(captions: Sequence[str], most: int) -> Tensor:
    """Captions as conditions ``(n, most + 1)``."""
    return Lines.of_bytes(most).conditions(captions, len(captions))


def decode_captions(cond: Tensor) -> list[str]:
    return Lines.of_bytes(1).strings(cond)


def byte_rows(captions: Sequence[str], length: int) -> Tensor:
    """The bytes of captions, ``(n, length)``, padded with -1."""
    return torch.tensor([[*caption.encode(), *[-1] * length][:length] for caption in captions])


def texts_of(codes: Tensor) -> list[str]:
    """The texts of rows of bytes that are padded with -1."""
    return [bytes(code for code in row if code >= 0).decode(errors="replace") for row in codes.tolist()]
