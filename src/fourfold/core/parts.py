"""Parts: objects that are rebuilt from their constructor's arguments."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fourfold.extensions import extensions, packages

__all__ = ["Part", "classes", "configuration", "construct", "show", "strangers"]


MODE = "training"
"""``nn.Module`` keeps its mode in this attribute, so it is not configuration, even where an argument has this name."""


class Part:
    """An object that remembers the arguments of its constructor, which are its whole configuration.

    After construction, setting an attribute that has the name of an argument raises ``AttributeError``: the
    configuration would no longer describe the part (see :func:`configuration`).
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _remembering(cls.__dict__["__init__"]))  # noqa: B010

    def arguments(self) -> dict[str, Any]:
        """The arguments that the constructor was called with, defaults included."""
        return dict(self.__dict__.get("_arguments", {}))

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get("_built") and name in self.__dict__["_arguments"] and name != MODE:
            raise AttributeError(
                f"{type(self).__name__}.{name} is configuration and cannot be set: construct a new part with {name}=..."
            )
        super().__setattr__(name, value)


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor: the outermost call records its bound arguments and freezes them at its end."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        if "_arguments" in self.__dict__:
            init(self, *args, **kwargs)
            return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        self.__dict__["_arguments"] = {k: _frozen(v) for k, v in list(bound.arguments.items())[1:]}
        init(self, *args, **kwargs)
        self.__dict__["_built"] = True

    return wrapper


def _frozen(value: Any) -> Any:
    """A tuple of a list, a copy of a mapping: later changes by the caller do not reach the configuration."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return dict(value) if isinstance(value, Mapping) else value


def configuration(part: Any) -> Any:
    """Return the JSON value that :func:`construct` turns back into an equal part.

    A part is written as ``{"type": "module:Class", "args": {...}}``. Numbers, strings, ``None`` and sequences as
    themselves. Store tensors in buffers instead, which are saved as weights.

    Raises:
        TypeError: for a value that is none of these.
    """
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, (list, tuple)):
        return [configuration(item) for item in part]
    if isinstance(part, Mapping):
        return {str(key): configuration(value) for key, value in part.items()}
    kind = type(part)
    return {
        "type": f"{kind.__module__}:{kind.__qualname__}",
        "args": {key: configuration(value) for key, value in _arguments(part).items()},
    }


def classes(part: Any) -> set[type]:
    """The classes that a part is made of: its own and those of its arguments, at any depth."""
    if part is None or isinstance(part, (bool, int, float, str)):
        return set()
    if isinstance(part, (list, tuple)):
        return set().union(*map(classes, part))
    if isinstance(part, Mapping):
        return classes(list(part.values()))
    return {type(part)} | classes(_arguments(part))


def _arguments(part: Any) -> dict[str, Any]:
    """The constructor's arguments of a part or of a dataclass."""
    if dataclasses.is_dataclass(part):
        return {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
    if isinstance(part, Part):
        return part.arguments()
    raise TypeError(f"a part of model.json must be a Part or a dataclass, got {type(part).__name__}")


def show(part: Any) -> str:
    """A part as the call that makes it."""
    if isinstance(part, Part):
        arguments = ", ".join(f"{key}={show(value)}" for key, value in _arguments(part).items())
        return f"{type(part).__name__}({arguments})"
    return repr(part)


def construct(value: Any, trust: Sequence[type] = ()) -> Any:
    """Build the part that :func:`configuration` wrote. Sequences become tuples.

    Only classes of fourfold, of packages that joined by an entry point (:mod:`fourfold.extensions`), and those of
    ``trust`` are called, so a ``model.json`` from elsewhere runs no foreign code.

    Args:
        value: a JSON value.
        trust: further classes that it may name: those of a script, or of a package that is not registered.

    Raises:
        ValueError: if the value names anything else.
    """
    if isinstance(value, list):
        return tuple(construct(item, trust) for item in value)
    if not isinstance(value, dict):
        return value
    if "type" not in value or "args" not in value:
        return {key: construct(item, trust) for key, item in value.items()}
    kind = _resolve(value["type"], trust)
    return kind(**{key: construct(item, trust) for key, item in value["args"].items()})


def _resolve(name: Any, trust: Sequence[type]) -> Any:
    """The part that ``module:Class`` names, if its package may be imported and defines it."""
    for kind in trust:
        if name in (f"{kind.__module__}:{kind.__qualname__}", f"__main__:{kind.__qualname__}"):
            return kind
    match = re.fullmatch(r"(\w+)((?:\.\w+)*):(\w+)", name, re.ASCII) if isinstance(name, str) else None
    if match is None or "__main__" in match[2]:
        raise ValueError(f"a type must be written as module:Class, got {name!r}")
    if match[1] == "__main__":
        raise ValueError(
            f"{name!r} is a class of the script that trained: pass it, as in Run.load(folder, trust=[Net])"
        )
    if not _may_be_imported(match[1]):
        raise ValueError(
            f"{name!r} belongs neither to fourfold nor to a package that joins it by an entry point: was the file "
            "changed, or is a package missing? Pass a class of your own, as in Run.load(folder, trust=[Net])"
        )
    resolved = _class_of(match[1] + match[2], match[3])
    if resolved is None:
        raise ValueError(
            f"{name!r} must be a part of the installed {match[1]}, got no such class: was the file changed, or was it "
            "written by another version?"
        )
    if not (isinstance(resolved, type) and (issubclass(resolved, Part) or dataclasses.is_dataclass(resolved))):
        raise ValueError(f"{name!r} must be a Part or a dataclass, got something else")
    package = resolved.__module__.partition(".")[0]
    if package != match[1] and not _may_be_imported(package):  # such as a class of torch that a module imports
        raise ValueError(f"{name!r} must be defined in its own package, got {resolved.__module__}")
    return resolved


def _class_of(module: str, name: str) -> Any:
    """The attribute of a module, or of the nearest package above it that has the name: modules move, public names stay.

    After these comes a class of the group ``fourfold.parts``, which moved into another package. ``None`` if there is
    none.
    """
    home = module
    while home:
        try:
            if (value := getattr(importlib.import_module(home), name, None)) is not None:
                return value
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
        home = home.rpartition(".")[0]
    point = extensions("fourfold.parts").get(name)
    return None if point is None else point.load()


def _may_be_imported(package: str) -> bool:
    """True if :func:`construct` builds classes of a package without explicit trust."""
    return package == "fourfold" or package in packages()


def strangers(value: Any) -> list[str]:
    """The classes of a :func:`configuration` that :func:`construct` builds only if they are trusted."""
    if isinstance(value, list):
        return [name for item in value for name in strangers(item)]
    if not isinstance(value, dict):
        return []
    names = []
    if "type" in value and "args" in value:
        package, _, name = value["type"].partition(":")
        importable = "." not in name and _may_be_imported(package.partition(".")[0])
        names = [] if importable else [value["type"]]
    return list(dict.fromkeys([*names, *strangers(list(value.values()))]))
