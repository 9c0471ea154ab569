"""Builds the model that a ``model.json`` describes, as what it is: input that may come from anywhere.

Before anything is allocated, the model is built on torch's ``meta`` device, where tensors have shapes and no values, and
compared with the tensors of the file that its weights come from. So it cannot ask for much more memory than that file
takes, nor for more time than so many layers take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.modules import module as hooks

from fourfold.core import Estimand, GenerativeModel, strangers

__all__ = ["Header", "TooLarge", "build", "check_loadable", "read_header"]

LARGEST = 1_000_000
"""The largest whole number among the settings of a model."""
MOST_STEPS = 100_000
"""The largest whole number among those of a sampler or a likelihood, which say how often a network is called."""
MOST_LAYERS = 50_000
"""The most modules, and the most parameters, of a model."""
MOST_VALUES = 1 << 24
"""The most values of one example."""
TIED = 4
"""How often a number of the file may stand in a model: parts that share weights may be built with weights of their own."""
SPARE = 1 << 32
"""Bytes that a model may hold beside what is saved: tables that its constructors compute."""


class TooLarge(ValueError):  # noqa: N818 (what it is)
    """A model asks for more than the file has that its tensors come from."""


@final
@dataclass(frozen=True)
class Header:
    """What a file of tensors says it holds: shapes by name, and its metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def elements(self) -> int:
        """The numbers in all tensors together."""
        return sum(map(math.prod, self.shapes.values()))


def read_header(path: Path) -> Header:
    """Read names and shapes of a safetensors file, none of its values."""
    with safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return Header(shapes, file.metadata() or {})


def build(value: Any, header: Header, trust: Sequence[type] = ()) -> GenerativeModel:
    """Build the untrained model of a ``model.json`` whose tensors a file holds.

    Args:
        value: what the file says.
        header: of the file that the tensors come from.
        trust: as in :func:`fourfold.core.construct`.

    Raises:
        TooLarge: for more numbers than the file has.
        ValueError: for settings out of all bounds.
        Exception: whatever constructors raise for settings that they do not know.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it holds no parts but {type(value).__name__}")
    _check_settings(value)
    try:
        with torch.device("meta"):
            plan = _construct(value, header, trust)
    except (NotImplementedError, RuntimeError):  # a constructor that reads values of tensors, which only others may do
        if not [name for name in _types(value) if not name.startswith("fourfold.")]:
            raise
    else:
        _check_size(plan, header)
    model = _construct(value, header, trust)
    _check_size(model, header)
    return model


def check_loadable(model: GenerativeModel) -> list[str]:
    """Whether a model can be loaded again once it is trained.

    Returns:
        the names of classes that :meth:`fourfold.Run.load` must be given: those of a script, for example.

    Raises:
        TypeError: for a part that cannot be written to ``model.json``.
        ValueError: for settings with which a model is not built.
    """
    value = model.configuration()
    _check_settings(value)
    _check_values(model)
    return strangers(value)


def _construct(value: Mapping[str, Any], header: Header, trust: Sequence[type]) -> GenerativeModel:
    with torch.random.fork_rng(devices=[]), _bounded(2 * TIED * header.elements + LARGEST):
        return GenerativeModel.from_configuration(value, trust)


@contextmanager
def _bounded(elements: int) -> Iterator[None]:
    """Inside, no more modules and parameters are made than a model may have, nor larger ones."""
    count = {"modules": 0, "parameters": 0, "elements": 0}

    def made(kind: str, size: int = 0) -> None:
        count[kind] += 1
        count["elements"] += size
        if count[kind] > MOST_LAYERS:
            raise ValueError(f"it asks for more than {MOST_LAYERS:,} {kind}")
        if count["elements"] > elements:
            raise TooLarge(f"that asks for more than {elements:,} numbers")

    def parameter(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        made("parameters", 0 if value is None else value.numel())

    def child(module: nn.Module, name: str, value: nn.Module | None) -> None:
        made("modules")

    handles = [
        hooks.register_module_parameter_registration_hook(parameter),
        hooks.register_module_module_registration_hook(child),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _types(value: Any) -> list[str]:
    """The classes that a configuration names."""
    if isinstance(value, list):
        return [name for item in value for name in _types(item)]
    if not isinstance(value, dict):
        return []
    own = [value["type"]] if isinstance(value.get("type"), str) and "args" in value else []
    return [*own, *_types(list(value.values()))]


def _check_settings(value: Mapping[str, Any]) -> None:
    """Refuse whole numbers that would take forever."""
    for part, content in value.items():
        most = MOST_STEPS if part in ("sampler", "likelihood") else LARGEST
        for name, number in _numbers(content, part):
            if abs(number) > most:
                raise ValueError(f"{name} is more than {most:,}")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """The whole numbers in a JSON value, each with its name."""
    if isinstance(value, int):
        yield name, value
    elif isinstance(value, dict):
        inner = value["args"] if isinstance(value.get("args"), dict) else value
        for key, item in inner.items():
            yield from _numbers(item, f"{name}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, name)


def _check_values(model: GenerativeModel) -> None:
    """Refuse examples and tables that no memory holds."""
    shapes = {"space": model.space.shape}
    shapes |= {name: m.event for name, m in model.named_modules() if isinstance(m, Estimand)}
    for name, shape in shapes.items():
        if math.prod(shape) > MOST_VALUES:
            raise ValueError(f"{name}: an example of {' x '.join(map(str, shape))} values is more than {MOST_VALUES:,}")
    saved = model.state_dict()
    tables = sum(b.numel() * b.element_size() for name, b in model.named_buffers() if name not in saved)
    if tables > SPARE:
        raise ValueError(f"its tables take {tables:,} bytes, more than {SPARE:,}")


def _check_size(model: GenerativeModel, header: Header) -> None:
    """Refuse a model that holds more than a file has."""
    _check_values(model)
    saved = model.state_dict()
    buffers = [b for name, b in model.named_buffers() if name in saved]
    numbers = sum(tensor.numel() for tensor in (*model.parameters(), *buffers))
    if numbers > TIED * header.elements:
        raise TooLarge(f"that asks for {numbers:,} numbers, and there are {header.elements:,}")
