"""Write docs/reference/commands.md and docs/reference/settings.md from the declarations. ``--check`` only compares.

Commands of wings, and the options of their adapters, are left out: their own pages show them.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import typer

from fourfold.adapters import options_of_adapters
from fourfold.cli.app import app
from fourfold.extensions import extensions
from fourfold.runs.settings import FitKeywords, FitSettings
from fourfold.settings.data import DataKeywords, DataOptions
from fourfold.settings.declaration import options_of
from fourfold.tournament.settings import CompareKeywords, Settings

FOLDER = Path(__file__).with_name("reference")
WRITTEN = "`docs/make_reference.py` writes this page from the declarations of the settings; do not edit it by hand."


def commands() -> str:
    """Every command of the core: its help, its arguments, and its options by panel."""
    wings = extensions("fourfold.commands")
    group: Any = typer.main.get_command(app)
    sections = [_command(name, command) for name, command in group.commands.items() if name not in wings]
    head = (
        f"# Commands\n\n{WRITTEN} `fourfold COMMAND --help` shows the same. Wings add commands of their own, which "
        "`fourfold --help` lists.\n"
    )
    return "\n".join([head, *sections])


def _command(name: str, command: Any) -> str:
    """A command as Markdown."""
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    panels: dict[str, list[Any]] = {"Options": []}
    of_wings = options_of_adapters() | options_of_adapters(tuning=True)
    for param in command.params:
        if param not in arguments and param.name not in of_wings:
            panels.setdefault(param.rich_help_panel or "Options", []).append(param)
    usage = " ".join(["fourfold", name, *(a.name.upper() if a.required else f"[{a.name.upper()}]" for a in arguments)])
    lines = [f"## {name}\n", f"```\n{usage} [OPTIONS]\n```\n", inspect.cleandoc(command.help) + "\n"]
    if arguments:
        lines += [_table(("argument", "default", "meaning"), [_argument(param) for param in arguments])]
    for panel, params in panels.items():
        lines += [f"**{panel}**\n", _table(("option", "default", "meaning"), [_option(param) for param in params])]
    return "\n".join(lines)


def _argument(param: Any) -> tuple[str, ...]:
    return f"`{param.name}`", _default(param), param.help or ""


def _option(param: Any) -> tuple[str, ...]:
    names = ", ".join(f"`{flag}`" for flag in (*param.opts, *param.secondary_opts))
    value = f" {param.metavar}" if param.metavar else ""
    return f"{names}{value}", _default(param), param.help or ""


def _default(param: Any) -> str:
    """The default as the help shows it."""
    if isinstance(param.show_default, str):
        return param.show_default
    if param.default is None or not param.show_default or param.default is False:
        return ""
    if param.default is True:
        return f"`{param.opts[0]}`"
    return f"`{param.default}`"


def settings() -> str:
    """The keywords of ``load``, ``fit`` and ``compare``, with their options."""
    head = (
        f"# Settings\n\n{WRITTEN} A setting is one declaration: the keyword in Python, the option on the command line, "
        "and the entry of a configuration file (`fourfold init` writes one) are made from it.\n"
    )
    parts = [
        ("fourfold.load", DataOptions, DataKeywords),
        ("fourfold.fit", FitSettings, FitKeywords),
        ("fourfold.compare", Settings, CompareKeywords),
    ]
    return "\n".join([head, *(_keywords(name, declaration, hints) for name, declaration, hints in parts)])


def _keywords(name: str, declaration: type, hints: Any) -> str:
    """The settings of a function as a table."""
    meanings, options = dict(_attributes(declaration)), options_of(declaration)
    rows = [
        (
            f"`{f.name}`",
            f"`{hints.__annotations__[f.name].__forward_arg__}`",
            "" if f.default is MISSING or f.default is None else f"`{_plain(f.default)}`",
            f"`{_flag(f.name, options[f.name])}`" if f.name in options else "",
            meanings[f.name],
        )
        for f in fields(declaration)
    ]
    return f"## {name}\n\n" + _table(("keyword", "type", "default", "option", "meaning"), rows)


def _flag(name: str, option: Any) -> str:
    return next((f for f in option.flags if f.startswith("--")), f"--{name.replace('_', '-')}")


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, bool)) else repr(str(value))


def _attributes(declaration: type) -> Iterator[tuple[str, str]]:
    """The attributes that the docstring of a dataclass describes, in Markdown."""
    text = inspect.cleandoc(declaration.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    for name, meaning in re.findall(r"(?m)^    (\w+): ((?:.*\n?)(?:     .*\n?)*)", text):
        plain = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", " ".join(meaning.split())).replace("``", "`")
        yield name, plain[0].upper() + plain[1:] if plain[0].isalpha() else plain


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    cells = [[text.replace("|", "\\|").replace("\n", " ") for text in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *cells)) + "\n"


def main() -> None:
    """Write both pages, or name the one that is out of date."""
    for path, text in {FOLDER / "commands.md": commands(), FOLDER / "settings.md": settings()}.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is out of date: run python docs/make_reference.py")


if __name__ == "__main__":
    main()
