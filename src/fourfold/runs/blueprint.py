"""Builds the model that a ``model.json`` describes. The file may come from anywhere, so it is checked like any input.

The model is first built on torch's ``meta`` device, where tensors have shapes but no values, and compared with the
tensors in the file of its weights. Hence a model cannot ask for much more memory than that file takes, nor for the time
of more than ``MOST_LAYERS`` layers (:mod:`fourfold.core.header`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fourfold.core import Estimand, GenerativeModel, strangers
from fourfold.core.header import LARGEST, SPARE, TIED, Header, TooLarge, bounded

__all__ = ["build", "check_loadable"]

MOST_STEPS = 100_000
"""The largest whole number among the settings of sampler and likelihood, which decide how often a network is called."""
MOST_VALUES = 1 << 24
"""The most values of one example."""


def build(value: Any, header: Header, trust: Sequence[type] = ()) -> GenerativeModel:
    """Build the untrained model that a ``model.json`` describes.

    Args:
        value: the content of ``model.json``.
        header: the header of the file of its weights.
        trust: as in :func:`fourfold.core.construct`.

    Raises:
        TooLarge: if the model asks for more numbers than the file of weights holds.
        ValueError: if a setting is beyond all bounds.
        Exception: whatever a constructor raises for settings that it does not know.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it must hold the parts of a model, got {type(value).__name__}")
    _check_settings(value)
    try:
        with torch.device("meta"), _Shapes():
            plan = _construct(value, header, trust)
    except (
        NotImplementedError,
        RuntimeError,
    ):  # a constructor read values of tensors, which only third parties' may do
        if not [name for name in _types(value) if not name.startswith("fourfold.")]:
            raise
    else:
        _check_size(plan, header)
    model = _construct(value, header, trust)
    _check_size(model, header)
    return model


_FILLS = frozenset(
    (
        "__setitem__", "add_", "clamp_", "copy_", "div_", "fill_", "index_add_", "mul_", "normal_", "sub_", "uniform_",
        "zero_",
    )
)  # fmt: skip
"""Names of what changes values in place."""
_ELEMENTWISE = frozenset(
    (
        "__floordiv__", "__rdiv__", "__rfloordiv__", "__rpow__", "__rsub__", "__rtruediv__", "abs", "add",
        "bitwise_and", "bitwise_not", "bitwise_or", "ceil", "clamp", "cos", "cumsum", "div", "eq", "exp",
        "floor", "floor_divide", "ge", "gt", "le", "log", "lt", "maximum", "minimum", "mul", "ne", "neg", "pow",
        "remainder", "round", "sign", "sin", "special_ndtri", "sqrt", "square", "sub", "tril",
        "triu", "true_divide", "where",
    )
)  # fmt: skip
"""Names of what gives one value for each, or for each pair that broadcasting makes."""


@final
class _Shapes(TorchFunctionMode):
    """Inside, tensors of the ``meta`` device are filled and combined as far as their shapes go.

    torch does so as well, but loads its compiler for it, which takes longer than all other work on a small model.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in _MAKERS and "device" not in kwargs:
            return _MAKERS[name](*args, **{key: value for key, value in kwargs.items() if key != "generator"})
        if name in ("cat", "stack") and any(value.is_meta for value in args[0]):
            return _concatenate(name == "stack", *args, **kwargs)
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if not any(value.is_meta for value in tensors):
            return func(*args, **kwargs)
        if name in _FILLS or getattr(func, "__module__", "") == "torch.nn.init":
            return tensors[0]
        if name in _ELEMENTWISE:
            return _broadcast(func, tensors, args, kwargs)
        change = _CHANGES.get(name)
        return func(*args, **kwargs) if change is None else change(*args, **kwargs)


def _broadcast(func: Any, tensors: Sequence[Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """A tensor of the shape and dtype of one value for each, or for each pair that broadcasting makes."""
    dtype = func(*map(_first, args), **{key: _first(value) for key, value in kwargs.items()}).dtype
    shape = np.broadcast_shapes(*(tuple(value.shape) for value in tensors))  # torch's own loads its compiler
    return torch.empty(shape, dtype=dtype)


def _copy(x: Tensor, *values: Any, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
    """A tensor of the shape of another one."""
    return torch.empty(x.shape, dtype=dtype or x.dtype)


def _sum(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """A tensor of the shape and dtype of ``x.sum(dim, keepdim)``."""
    at = None if dim is None else dim % x.dim()
    shape = [1 if at in (None, i) else n for i, n in enumerate(x.shape) if keepdim or at not in (None, i)]
    return torch.empty(shape, dtype=x.dtype if x.is_floating_point() else torch.int64)


def _repeat(x: Tensor, *counts: Any) -> Tensor:
    """A tensor of the shape of ``x.repeat(counts)``."""
    numbers = counts[0] if isinstance(counts[0], Sequence) else counts
    shape = (1,) * (len(numbers) - x.dim()) + tuple(x.shape)
    return torch.empty([a * b for a, b in zip(shape, numbers, strict=True)], dtype=x.dtype)


def _arange(*ends: float, step: float = 1, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
    """A tensor of the shape and dtype of ``torch.arange``."""
    low, high, step = {1: (0, *ends, step), 2: (*ends, step), 3: ends}[len(ends)]
    plain = torch.int64 if all(isinstance(end, int) for end in (low, high, step)) else torch.get_default_dtype()
    return torch.empty(max(math.ceil((high - low) / step), 0), dtype=dtype or plain)


def _linspace(low: float, high: float, steps: int, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
    """A tensor of the shape of ``torch.linspace`` and ``torch.logspace``."""
    return torch.empty(steps, dtype=dtype)


def _eye(rows: int, columns: int | None = None, dtype: torch.dtype | None = None, **rest: Any) -> Tensor:
    """A tensor of the shape of ``torch.eye``."""
    return torch.empty(rows, rows if columns is None else columns, dtype=dtype)


_MAKERS: Mapping[str, Callable[..., Tensor]] = {
    "arange": _arange,
    "eye": _eye,
    "linspace": _linspace,
    "logspace": _linspace,
    "rand": torch.empty,
    "randn": torch.empty,
}
"""Functions that make a tensor, by the name of that of torch in whose place they stand. They leave out the values."""
_CHANGES: Mapping[str, Callable[..., Tensor]] = {
    "clone": _copy,
    "flip": _copy,
    "full_like": _copy,
    "normalize": _copy,
    "ones_like": _copy,
    "repeat": _repeat,
    "sum": _sum,
    "zeros_like": _copy,
}
"""Functions of a tensor, likewise."""


def _concatenate(new: bool, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """A tensor of the shape and dtype of ``torch.cat``, or of ``torch.stack``, along a new dimension."""
    tensors = [tensor.unsqueeze(dim) for tensor in tensors] if new else tensors
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return torch.empty(shape, dtype=torch.cat([_first(tensor) for tensor in tensors]).dtype)


def _first(value: Any) -> Any:
    """A tensor of one element that promotes dtypes as the given one does. Other values as they are."""
    return torch.ones((1,) * value.dim(), dtype=value.dtype, device="cpu") if isinstance(value, Tensor) else value


def check_loadable(model: GenerativeModel) -> list[str]:
    """Check that a model can be loaded again once it is trained.

    Returns:
        The names of the classes that must be handed to :meth:`fourfold.Run.load`, such as those of a script.

    Raises:
        TypeError: for a part that cannot be written to ``model.json``.
        ValueError: for a setting that :func:`build` would refuse.
    """
    value = model.configuration()
    _check_settings(value)
    _check_values(model)
    return strangers(value)


def _construct(value: Mapping[str, Any], header: Header, trust: Sequence[type]) -> GenerativeModel:
    with torch.random.fork_rng(devices=[]), bounded(2 * TIED * header.elements + LARGEST):
        return GenerativeModel.from_configuration(value, trust)


def _types(value: Any) -> list[str]:
    """The classes that a configuration names."""
    if isinstance(value, list):
        return [name for item in value for name in _types(item)]
    if not isinstance(value, dict):
        return []
    names = [value["type"]] if isinstance(value.get("type"), str) and "args" in value else []
    return [*names, *_types(list(value.values()))]


def _check_settings(value: Mapping[str, Any]) -> None:
    """Refuse whole numbers that would make building or sampling take forever."""
    for part, content in value.items():
        most = MOST_STEPS if part in ("sampler", "likelihood") else LARGEST
        for name, number in _numbers(content, part):
            if abs(number) > most:
                raise ValueError(f"{name} must be at most {most:,}, got more")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """The whole numbers in a JSON value, each with its name."""
    if isinstance(value, int):
        yield name, value
    elif isinstance(value, dict):
        inner = value["args"] if isinstance(value.get("args"), dict) else value
        for key, item in inner.items():
            rule = ".rules" in name
            values = (rule or name.endswith(".schema")) and key in ("low", "high", "first", "rows")
            values |= rule and key == "least"
            values |= "schema" in inner and key in ("origin", "steps")  # places and steps of a series
            if not values and key != "observed":  # values, or a count of rows: nothing that is built is as long
                yield from _numbers(item, f"{name}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, name)


def _check_values(model: GenerativeModel) -> None:
    """Refuse examples and tables that do not fit into any memory."""
    shapes = {"space": model.space.shape}
    shapes |= {name: m.event for name, m in model.named_modules() if isinstance(m, Estimand)}
    for name, shape in shapes.items():
        if math.prod(shape) > MOST_VALUES:
            raise ValueError(
                f"{name}: an example must have at most {MOST_VALUES:,} values, got {' x '.join(map(str, shape))}"
            )
    saved = model.state_dict()
    tables = sum(b.numel() * b.element_size() for name, b in model.named_buffers() if name not in saved)
    if tables > SPARE:
        raise ValueError(f"its tables must have at most {SPARE:,} bytes, got {tables:,}")


def _check_size(model: GenerativeModel, header: Header) -> None:
    """Refuse a model that holds more numbers than the file of its weights."""
    _check_values(model)
    saved = model.state_dict()
    buffers = [b for name, b in model.named_buffers() if name in saved]
    numbers = sum(tensor.numel() for tensor in (*model.parameters(), *buffers))
    if numbers > TIED * header.elements:
        raise TooLarge(f"the file must hold the {numbers:,} numbers of the model, got {header.elements:,}")
