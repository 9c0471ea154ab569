"""Names and shapes of the tensors in a file of weights, and the limits that they set for a model.

A configuration may come from anywhere. Its model is compared with the tensors of its file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from safetensors import safe_open
from torch import nn
from torch.nn.modules import module as hooks

from fourfold.machine.regular import open_regular

__all__ = ["LARGEST", "MOST_LAYERS", "SPARE", "TIED", "Header", "TooLarge", "bounded", "read_header"]

LARGEST = 1_000_000
"""The largest whole number among the settings of a model."""
MOST_LAYERS = 50_000
"""The most modules, and the most parameters, of a model."""
TIED = 4
"""Occurrences of a number of the file in a model, at most: parts that share weights may be built with their own."""
SPARE = 1 << 32
"""The most bytes that a model may hold beyond its saved tensors: tables that its constructors compute."""


class TooLarge(ValueError):  # noqa: N818 (what it is)
    """A model asks for more numbers than the file of its weights holds."""


@final
@dataclass(frozen=True)
class Header:
    """The table of contents of a file of tensors: shapes by name, and metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def elements(self) -> int:
        """The numbers in all tensors together."""
        return sum(map(math.prod, self.shapes.values()))


def read_header(path: Path) -> Header:
    """Read the names and shapes in a safetensors file, or in all of a folder, but none of their values."""
    shapes: dict[str, tuple[int, ...]] = {}
    metadata: dict[str, str] = {}
    for weights in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
        open_regular(weights).close()
        with safe_open(weights, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                unique = name if name not in shapes else f"{weights.name}:{name}"
                shapes[unique] = tuple(file.get_slice(name).get_shape())
            metadata |= file.metadata() or {}
    return Header(shapes, metadata)


@contextmanager
def bounded(elements: int, parameters: int | None = None) -> Iterator[None]:
    """Inside, making more modules, parameters or numbers than a model may have raises an error.

    Args:
        elements: the most numbers in its parameters.
        parameters: the most parameters. By default as many as modules.

    Raises:
        TooLarge: for more numbers.
        ValueError: for more modules or parameters.
    """
    most = {"modules": MOST_LAYERS, "parameters": MOST_LAYERS if parameters is None else parameters}
    count = {"modules": 0, "parameters": 0, "elements": 0}

    def count_one(kind: str, size: int = 0) -> None:
        count[kind] += 1
        count["elements"] += size
        if count[kind] > most[kind]:
            raise ValueError(f"the model must have at most {most[kind]:,} {kind}, got more")
        if count["elements"] > elements:
            raise TooLarge(f"the model must have at most {elements:,} numbers, got more")

    def parameter(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        count_one("parameters", 0 if value is None else value.numel())

    def child(module: nn.Module, name: str, value: nn.Module | None) -> None:
        count_one("modules")

    handles = [
        hooks.register_module_parameter_registration_hook(parameter),
        hooks.register_module_module_registration_hook(child),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
