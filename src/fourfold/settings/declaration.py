"""How a setting is declared once: a field of a dataclass, with its default and its option. Torch-free.

The options of the command line, the configuration files and the keywords of a function are made from such a dataclass.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ParamSpec, TypeVar, final

from fourfold.output.printable import one_of

__all__ = [
    "BUDGET",
    "COMPILE",
    "DEVICE",
    "FEATURES",
    "MACHINES_PANEL",
    "MEASURING_PANEL",
    "PRECISION",
    "PRIVACY_PANEL",
    "SEED",
    "SIZE",
    "SPEED_PANEL",
    "TABLE_PANEL",
    "TEXT_PANEL",
    "TRAINING_PANEL",
    "Option",
    "check_keyword",
    "check_precision",
    "has_compiler",
    "options_of",
    "setting",
    "spelled_out",
]

P = ParamSpec("P")
R = TypeVar("R")


@final
@dataclass(frozen=True)
class Option:
    """A setting on the command line.

    Attributes:
        type: the type that the command line parses.
        help: one sentence or two.
        flags: the flags, as ``("-n", "--n")`` or ``("--sweep/--no-sweep",)``. If empty, the name of the setting.
        panel: the heading in the help. If empty, that of the command's own options.
        min: the least value.
        max: the largest value.
        metavar: the letter or word for the value in the help.
        show_default: the default in words, where it is no value.
        parse: makes the value of the setting of what the command line parsed.
    """

    type: type
    help: str
    flags: tuple[str, ...] = ()
    panel: str = ""
    min: float | None = None
    max: float | None = None
    metavar: str | None = None
    show_default: str | None = None
    parse: Callable[[Any], Any] | None = None

    def parameter(self, name: str) -> str:
        """The name of the option of the setting of this name, as configuration files have it: that of its long flag."""
        flags = (flag.partition("/")[0] for flag in self.flags if flag.startswith("--"))
        return next(flags, name).lstrip("-").replace("-", "_")

    def parsed(self, value: Any) -> Any:
        """The value of the setting for what the command line parsed. ``None`` for an option that was left out."""
        return value if value is None or self.parse is None else self.parse(value)

    def words(self, name: str, value: Any = None) -> list[str] | None:
        """The words of a command line that give a value to the setting of this name. ``None`` if none can.

        Without a value, the flag alone. A switch without a negative has no words for it.
        """
        if self.type is bool:
            on, _, off = self.flags[0].partition("/")
            word = on if value or value is None else off
            return [word] if word else []
        if self.type is not str and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return [word for item in value for word in self.words(name, item) or []]  # a flag for each
        if isinstance(value, (tuple, list)) and self.type is str:
            value = ",".join(map(str, value))
        elif isinstance(value, (tuple, list)) and len(set(value)) == 1:
            value = value[0]
        if not (value is None or isinstance(value, (str, int, float, os.PathLike))):
            return None
        flag = self.flags[0] if self.flags else f"--{name.replace('_', '-')}"
        return [flag] if value is None else [flag, str(value)]


def setting(default: Any, option: Option) -> Any:
    """A field of a dataclass of settings that has an option."""
    return field(default=default, metadata={"option": option})


def options_of(settings: type) -> dict[str, Option]:
    """The options of a dataclass of settings by the names of its fields. Some fields are for Python alone."""
    return {f.name: f.metadata["option"] for f in fields(settings) if "option" in f.metadata}


def spelled_out(keywords: type, defaults: Mapping[str, Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a function of ``**settings`` a signature with each keyword, and a clear error for any other.

    Args:
        keywords: the ``TypedDict`` of the settings.
        defaults: the default of each keyword in the signature.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters += [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hint.__forward_arg__
            )
            for name, hint in keywords.__annotations__.items()
        ]

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                check_keyword(function.__name__, name, [p.name for p in parameters])
            return function(*args, **kwargs)

        checked.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return checked

    return decorate


def check_keyword(function: str, name: str, names: list[str]) -> None:
    """Refuse a keyword that a function does not have.

    Raises:
        TypeError: with the nearest name, if one is near.
    """
    if name not in names:
        raise TypeError(f"keyword of {function}() must be {one_of(name, names, 99)}")


def check_precision(name: str, compiled: bool = False) -> None:
    """Refuse a precision that is unknown, and compiled steps without a compiler.

    Raises:
        ValueError: naming the precisions, or what to install.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    if compiled and not has_compiler():
        raise ValueError("--compile must be left out without a C++ compiler; or install one (g++ or clang++)")


def has_compiler() -> bool:
    """True if ``torch.compile`` finds a C++ compiler."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


PRECISIONS = ("float32", "bf16", "autocast")

# The panels of the help. Each fits a screen of 40 lines.
TRAINING_PANEL = "Training"
SPEED_PANEL = "Speed and memory"
MACHINES_PANEL = "Several processes and machines"
MEASURING_PANEL = "Measuring"
PRIVACY_PANEL = "Privacy"
TEXT_PANEL = "Text"
TABLE_PANEL = "Tables and sequences"

# The options that a comparison and other commands share.
BUDGET = Option(str, "End of a training: 30s, 1h30m, 2000 steps, 5 epochs, 1e15 flops.", show_default="1m")
SIZE = Option(str, "Size of a model: auto, xs, s, m, l, xl, or narrower, as s/2.", show_default="auto")
SEED = Option(int, "Seed of every random draw.", min=0, metavar="N", show_default="0")
DEVICE = Option(str, "auto (a GPU if there is one), cpu, cuda, cuda:0 or mps.", show_default="auto")
PRECISION = Option(str, "float32, bf16 or autocast.", panel=SPEED_PANEL, show_default="the fastest stable one")
COMPILE = Option(
    bool,
    "Compile the training step.",
    ("--compile/--no-compile",),
    SPEED_PANEL,
    show_default="in long budgets",
)
FEATURES = Option(
    str,
    "Feature space of images: pixels, efficientnet-lite0, inception.",
    panel=MEASURING_PANEL,
    show_default="by their size",
)
