"""Configuration files of commands: TOML with the names of options, written with comments and read back."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from fourfold.machine.regular import text_of
from fourfold.output.printable import one_of

__all__ = ["Config", "config_text", "read_config", "template"]

SECTIONS = ("fit", "compare")
"""The commands that take a configuration file. Each has a section of its name."""
LEFT_OUT = frozenset({"config", "as_json", "resume", "help", "print_jobs", "run_folders"})
"""Options that belong to one call and not into a file."""


def read_config(path: Path, command: Any) -> dict[str, Any]:
    """The values of a section ``[fit]`` or ``[compare]``, by the names of the command's parameters.

    Raises:
        ValueError: for a file that is not TOML, has no such section, or names an unknown option.
    """
    try:
        content = tomllib.loads(text_of(path))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}); 'fourfold init' writes one") from None
    except ValueError as error:
        raise ValueError(f"{path}: must be TOML, got another text: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply; 'fourfold init' writes one that is not") from None
    section = content.get(command.name)
    if not isinstance(section, dict):
        raise ValueError(f"{path}: must have a section [{command.name}], got none; 'fourfold init' writes one")
    parameters = {param.name: param for param in command.params if param.name not in LEFT_OUT}
    values = {name.replace("-", "_"): value for name, value in section.items()}
    for name in values:
        if name not in parameters:
            raise ValueError(f"{path}, [{command.name}]: option must be {one_of(name, parameters)}")
    return {
        name: _checked(path, command.name, name, value, getattr(parameters[name], "multiple", False))
        for name, value in values.items()
    }


def _checked(path: Path, section: str, name: str, value: Any, multiple: bool = False) -> Any:
    """A value in the form of an option: lists become texts with commas, but for an option that can be repeated."""
    if multiple:
        items = value if isinstance(value, list) else [value]
        return [_checked(path, section, name, item) for item in items]
    if isinstance(value, list):
        return ",".join(map(str, value))
    if not isinstance(value, (str, int, float, bool)):
        raise ValueError(
            f"{path}, [{section}]: {name} must be a text, a number or true or false, got {type(value).__name__}"
        )
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError(f"{path}, [{section}]: {name} must be below 2^63, got {len(str(abs(value)))} digits")
    return value


def _use(context: typer.Context, path: Path | None) -> Path | None:
    """Take options that the command line leaves out from a file."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **read_config(path, context.command)}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Read options from this .toml ('fourfold init' writes one).",
        callback=_use,
        is_eager=True,
        show_default=False,
    ),
]


def template(command: Any) -> str:
    """A section with every option of a command, commented out, each below its help and default."""
    params = [param for param in command.params if param.name not in LEFT_OUT]
    return "\n\n".join([f"[{command.name}]", *(_entry(param) for param in params)]) + "\n"


def _entry(param: Any) -> str:
    """An option: its help and default as comments, then the line to edit."""
    words = getattr(param, "show_default", None)
    default = "" if param.default is None or callable(param.default) else str(param.default)
    default = words if isinstance(words, str) else default
    about = " ".join((getattr(param, "help", None) or "").split())
    lines = wrap(f"{about} Default: {default}." if default else about, 78)
    return "\n".join([*(f"# {line}" for line in lines), f"# {param.name.replace('_', '-')} = {_example(param)}"])


def _example(param: Any) -> str:
    """A value to edit: the default if there is one."""
    if param.default is not None and not callable(param.default):
        return _toml(param.default)
    if getattr(param, "is_bool_flag", False):
        return "true"
    return {"N": "1", "X": "1.0", "SECONDS": "60.0"}.get(getattr(param, "metavar", None) or "", '"..."')


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)


def config_text(command: Any, values: Mapping[str, Any], head: str) -> str:
    """The file that repeats a call of a command: a comment, then the given values."""
    names = [param.name for param in command.params if param.name not in LEFT_OUT | {"out"}]
    rows = [
        f"{name.replace('_', '-')} = {_toml(values[name])}" for name in names if values.get(name) not in (None, [], ())
    ]
    return "\n".join([f"# {head}", f"[{command.name}]", *rows]) + "\n"
