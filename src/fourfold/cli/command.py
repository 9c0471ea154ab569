"""A command as a declaration: a dataclass of its options, with the address of the function that does its work.

The declarations load no torch, so help answers at once. The function is imported when its command runs.
"""

from __future__ import annotations

import gc
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, ClassVar, get_type_hints

from fourfold.adapters import options_of_adapters
from fourfold.cli.options import declared
from fourfold.extensions import extensions
from fourfold.machine.threads import set_threads
from fourfold.settings.declaration import Option, options_of

__all__ = ["Command", "Group", "opening_of", "settings_of"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """The base of all declarations. Each field is an argument or an option. The docstring is the help.

    Attributes:
        work: the function that gets the declaration with its values, as ``MODULE:FUNCTION``.
    """

    work: ClassVar[str]

    def thread_count(self) -> int | None:
        """The number of threads that the user asks for. ``None`` for as many as there are free cores."""
        return None

    @classmethod
    def callback(cls) -> Callable[..., None]:
        """The function from whose signature Typer makes the arguments and options of the command."""
        hints = get_type_hints(cls, include_extras=True)

        def run(**values: Any) -> None:
            command = cls(**{f.name: _value(f.name, hints[f.name], values) for f in fields(cls)})
            set_threads(command.thread_count())
            module, _, name = _address(command).partition(":")
            work = getattr(importlib.import_module(module), name)
            gc.enable()
            work(command)

        parameters = [parameter for f in fields(cls) for parameter in _parameters(f, hints[f.name])]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__doc__ = cls.__doc__
        return run


def _address(command: Command) -> str:
    """The work of a command: that of a wing that recognises its data or run, or the command's own."""
    handlers = (point.load() for point in extensions("fourfold.handlers").values())
    return next((address for handler in handlers if (address := handler(command))), command.work)


@dataclass(frozen=True)
class Group:
    """Several parameters whose values are one field of a declaration: ``field: Annotated[TYPE, Group(...)]``.

    Attributes:
        parameters: the parameters.
        build: the function that makes the value of the field from their values.
    """

    parameters: Sequence[inspect.Parameter]
    build: Callable[..., Any]


def settings_of(settings: type, optional: bool = False) -> Group:
    """The options of declared settings, whose values are a dictionary.

    Args:
        settings: a dataclass of settings, see :mod:`fourfold.settings.declaration`.
        optional: whether the dictionary lacks a setting that the user leaves out, so that another default can stand in
            its place.
    """
    options = options_of(settings)
    names = {option.parameter(name): name for name, option in options.items()}
    defaults = {name: None if optional else getattr(settings, name) for name in options}

    def build(**values: Any) -> dict[str, Any]:
        parsed = {names[parameter]: options[names[parameter]].parsed(value) for parameter, value in values.items()}
        return {name: value for name, value in parsed.items() if value is not None or not optional}

    return Group(
        [
            _parameter(parameter, defaults[name], _annotation(options[name], defaults[name]))
            for parameter, name in names.items()
        ],
        build,
    )


def opening_of(tuning: bool = False) -> Group:
    """The options of installed adapters, see :attr:`fourfold.adapters.Adapter.options`. Those in use are a dictionary.

    Args:
        tuning: whether the command tunes published models.
    """
    options = options_of_adapters(tuning)
    parameters = [_parameter(name, None, _annotation(option, None)) for name, option in options.items()]
    return Group(parameters, lambda **values: {name: value for name, value in values.items() if value is not None})


def _group(hint: Any) -> Group | None:
    """The group in the annotation of a field, if there is one."""
    return next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Group)), None)


def _parameters(item: Field[Any], hint: Any) -> Sequence[inspect.Parameter]:
    """The parameters whose values a field of a declaration holds."""
    group = _group(hint)
    return group.parameters if group else [_parameter(item.name, item.default, hint)]


def _value(name: str, hint: Any, values: Mapping[str, Any]) -> Any:
    """The value of a field for the values of all parameters."""
    group = _group(hint)
    return group.build(**{p.name: values[p.name] for p in group.parameters}) if group else values[name]


def _parameter(name: str, default: Any, hint: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _annotation(option: Option, default: Any) -> Any:
    """The annotation by which Typer parses a declared setting."""
    return Annotated[option.type if default is not None else option.type | None, declared(option, default is not None)]
