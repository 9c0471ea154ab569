"""What recipes of learned codes share: which space their codec is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fourfold.core import (
    Space,
)
from fourfold.spaces import Images, Vectors

__all__ = ["only_images", "unconditional"]


def unconditional(space: Space) -> Any:
    """The space without labels and captions: what a codec is trained on."""
    if isinstance(space, Images):
        return replace(space, classes=None, class_names=(), caption=None)
    if isinstance(space, Vectors):
        return replace(space, classes=None, class_names=())
    raise TypeError(f"hybrids model images or vectors, not {type(space).__name__}")


def only_images(space: Space, name: str) -> Images:
    """The space, if it is of images.

    Raises:
        TypeError: for another one.
    """
    if not isinstance(space, Images):
        raise TypeError(f"{name} is of images, not of {type(space).__name__}: use latent-flow for vectors")
    return space
