"""The definitions of losses and sampling loops in a source, found by parsing, and the code of a notebook."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from fourfold_atlas.bounded import load_json
from fourfold_atlas.evidence import Evidence, Reader, shortened
from fourfold_atlas.loops import drawing
from fourfold_atlas.losses import computing, contrasting
from fourfold_atlas.rules import finder, part_rules, reason

__all__ = ["Notebook", "defining", "is_code", "modern", "named_parts", "parsed", "read_notebook"]

_LOSS = finder("sources", "loss")
_DRAWS = reason("code", "draws")
#: a class, names from another module, what an object holds
_DEFINES = re.compile(r"class (?P<names>\w+)")
_IMPORTS = re.compile(r"\s*from [\w.]+ import (?P<names>[\w, ]+)")
_HOLDS = re.compile(r"\s+self\.(?P<names>\w+) = ")
_TRAINS = frozenset({"backward", "minimize", "value_and_grad", "apply_gradients"})
#: no definition of either has none of these letters
_MAY_DEFINE = re.compile(
    rf"{_DRAWS.pattern}|loss|{'|'.join(_TRAINS)}|elbo|nll|log_|argmax|\.step\(|bernoulli|binomial", re.I
)
#: below this a function only mentions a loss, or is only called like a sampler
ENOUGH = 2
#: lines of a source that may be broken
BROKEN = 16
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.If | ast.For | ast.While | ast.With


#: Python 2, and words that became keywords, each with the same in Python 3. What is printed says nothing
_OLD = (
    (
        re.compile(r"(?m)(^|[:;])([ \t]*)(?:print[ \t]*>>[ \t]*|(?:print|exec)[ \t]+)(?=[^=\s(]|\(.*\)[ \t]*[%,])"),
        r"\1\2_ = ",
    ),
    (re.compile(r"(?m)^([ \t]*)print[ \t]*(?=$|#)"), r"\1pass"),
    (re.compile(r"(?m)^([ \t]*except [\w., ()]+?)[ \t]*,[ \t]*(\w+)[ \t]*:"), r"\1 as \2:"),
    (re.compile(r"(?m)^([ \t]*raise [\w.]+)[ \t]*,[ \t]*(.+)$"), r"\1(\2)"),
    (re.compile(r"\basync[ \t]*=[ \t]*(?=True|False)"), "async_="),
    (re.compile(r"<>"), "!="),
    (re.compile(r"(?<![\w.])0(\d{3})\b"), r"0o\1"),
    (re.compile(r"(?<![\w.])(\d+)[lL]\b"), r"\1"),
    (re.compile(r"\b[uU][rR](?=['\"])"), "r"),
)


def modern(source: str) -> str:
    """A source as it stands, or in today's Python where only so it parses. Lines stay where they are.

    A few lines that break the rest, such as one with an open bracket, say nothing.
    """
    if parsed(source):
        return source
    today = source.removeprefix("\ufeff").replace("\r\n", "\n").expandtabs(8)
    for pattern, replacement in _OLD:
        today = pattern.sub(replacement, today)
    return today if parsed(today) else _mended(today) or source


def _mended(source: str) -> str:
    """A source whose broken lines are indented like those above, or left out where that does not help. Else empty."""
    lines = source.split("\n")
    indented: set[int] = set()
    for _ in range(BROKEN):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse("\n".join(lines))
            return "\n".join(lines)
        except SyntaxError as error:
            at = (error.lineno or 0) - 1
            moved = isinstance(error, IndentationError) and at not in indented
        except (ValueError, RecursionError, MemoryError):
            return ""
        if not 0 <= at < len(lines) or not lines[at].strip():
            return ""
        text = lines[at].strip()
        indented.add(at)
        above = next((line for line in reversed(lines[:at]) if line.strip()), "") if moved else lines[at]
        indent = " " * (len(above) - len(above.lstrip()) + 4 * (moved and above.rstrip().endswith(":")))
        lines[at] = indent + (text if moved else "if True:" if text.endswith(":") else "pass")
    return ""


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of a whole source, or ``None`` where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def defining(source: str, trained: Container[int] = (), results: Container[str] = ()) -> tuple[float, str]:
    """A measure of how clearly a source defines a loss or a sampling loop, and the source with all else blanked.

    Lines stay where they are. Zero and nothing where it defines neither, or does not parse.

    Args:
        source: Python.
        trained: the lines that the training step reaches, if it reaches any: losses elsewhere do not count then.
        results: the names of functions whose results enter a loss: each defines one.
    """
    tree = parsed(source) if _MAY_DEFINE.search(source) else None
    if tree is None:
        return 0.0, ""
    drawn = {line for line, repeated in drawing(tree).items() if repeated} | contrasting(tree)
    rated = ((_strength(node, results, drawn), node) for node in _definitions(tree.body))
    definitions: list[tuple[int, ast.stmt]] = [(strength, node) for strength, node in rated if strength >= ENOUGH]
    if trained:
        definitions = [row for row in definitions if row[1].lineno in trained or _draws(row[1], drawn)]
    script = _script(tree)
    if not definitions and not script:
        return 0.0, ""
    definitions += [(ENOUGH + 1, node) for node in script]
    numbers = {line for _, node in definitions for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    heads = [
        range(node.lineno, node.body[0].lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not numbers.isdisjoint(range(node.lineno, (node.end_lineno or 0) + 1))
    ]
    numbers.update(line for head in heads for line in head)
    lines = source.split("\n")
    text = "\n".join(line if number in numbers else "" for number, line in enumerate(lines, 1))
    return max(strength for strength, _ in definitions) + 0.3 * len(definitions), text


def _script(tree: ast.Module) -> list[ast.stmt]:
    """The plain statements of a script that a loss depends on, where one of them trains."""
    rows = [node for node in tree.body if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr)]
    if not any(isinstance(part, ast.Call) and _callee(part) in _TRAINS for node in rows for part in ast.walk(node)):
        return []
    lines = computing(tree)
    return [node for node in rows if node.lineno in lines]


def _definitions(body: list[ast.stmt]) -> Iterator[_Definition]:
    """Functions, methods, and the statements of a script that hold others."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body)
        elif isinstance(node, _Definition):
            yield node


def _draws(node: ast.stmt, drawn: Container[int]) -> bool:
    """True if a definition draws examples by its name or by a loop."""
    return bool(_DRAWS.search(_name(node))) or any(line in drawn for line in _lines(node))


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _strength(node: _Definition, results: Container[str], drawn: Container[int]) -> int:
    """Signs of a loss or a sampler in a definition: it trains, it holds losses, its name says so, or it loops.

    Args:
        node: the definition.
        results: the names of functions whose results enter a loss.
        drawn: the lines of loops that draw examples, and those that train an energy by hand.
    """
    inside = list(ast.walk(node))
    name = _name(node)
    trains = any(isinstance(part, ast.Call) and _callee(part) in _TRAINS for part in inside)
    losses = sum(bool(_LOSS.search(name)) for part in inside for name in _names(part))
    loops = any(isinstance(part, ast.For | ast.While) for part in inside)
    draws = bool(name and _DRAWS.search(name))
    strength = 3 * trains + min(losses, 4) + 2 * bool(name and _LOSS.search(name)) + draws * (2 if loops else 1)
    return max(strength, ENOUGH) if name in results or any(line in drawn for line in _lines(node)) else strength


def _name(node: ast.stmt) -> str:
    return getattr(node, "name", "")


def _callee(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a statement assigns or returns."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Return) and node.value is not None:
        targets = [node.value]
    for part in (part for target in targets for part in ast.walk(target)):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def named_parts(source: str, name: str) -> Iterator[Evidence]:
    """The parts that a source defines or imports, by the names of its classes and by its own name.

    Args:
        source: Python, read line by line.
        name: the name of its file, which quotes carry.
    """
    lines = [(3, name, name, [PurePosixPath(name).stem])]
    for number, line in enumerate(source.split("\n"), 1):
        for rank, pattern in enumerate((_DEFINES, _IMPORTS, _HOLDS)):
            if match := pattern.match(line):
                names = re.findall(r"\w+", match["names"])
                lines.append((rank, f"{name}:{number}", line.strip().rstrip(":"), names))
    for claim, rule in part_rules().items():
        hits = [row for row in lines if rule.code and any(map(rule.code.search, row[3]))]
        if hits:
            _, where, quote, _ = min(hits, key=lambda row: row[0])
            yield Evidence(shortened(quote), where, claim, 1.0, Reader.CODE)


def is_code(text: str) -> bool:
    """True if a text is Python: it parses, and holds a statement or calls a method. ``GAN (x)`` calls a function."""
    tree = parsed(text) or parsed(f"if True:\n{text}")
    return tree is not None and any(
        not isinstance(node, ast.Expr | ast.If)
        if isinstance(node, ast.stmt)
        else isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        for node in ast.walk(tree)
    )


@dataclass(frozen=True)
class Notebook:
    """Code, and the place where each of its cells begins, with the cell's number. A plain source has none."""

    code: str
    starts: tuple[tuple[int, int], ...] = ()

    def place(self, line: int) -> str:
        """A line of the code as ``cell 3, line 2``. Cells are counted as a reader sees them, text cells too."""
        first, cell = max(start for start in self.starts if start[0] <= line)
        return f"cell {cell}, line {line - first + 1}"

    def placed(self, rows: list[Evidence], name: str) -> list[Evidence]:
        """Evidence whose lines are named by their cell of the file."""
        lines = [row.where.removeprefix(f"{name}:") if self.starts else "" for row in rows]
        return [
            replace(row, where=f"{name}: {self.place(int(line))}") if line.isdecimal() else row
            for row, line in zip(rows, lines, strict=True)
        ]


def read_notebook(text: str, name: str, kind: str = "code") -> Notebook:
    """The cells of a kind of a notebook, ``code`` or ``markdown``.

    Commands of its shell are blanked. Old Python is read as today's, and a cell of code that does not parse says
    nothing where the others do.

    Raises:
        UnreadableError: broken JSON.
    """
    lines: list[str] = []
    starts: list[tuple[int, int]] = [(1, 1)]
    for number, cell in enumerate(_cells(load_json(text, name)), 1):
        if isinstance(cell, dict) and cell.get("cell_type") == kind:
            starts.append((len(lines) + 1, number))
            source = cell.get("source", cell.get("input", ""))
            code = "".join(map(str, source)) if isinstance(source, list) else str(source)
            code = _SHELL.sub(r"\1pass", code)
            code = modern(code) if kind == "code" else code
            lines += code.split("\n") if kind != "code" or parsed(code) else _blank(code)
    return Notebook("\n".join(lines), tuple(starts))


#: a command of a notebook's shell, or what asks for help
_SHELL = re.compile(r"(?m)^([ \t]*)(?:[%!?].*|[\w.]+\?{1,2}[ \t]*$)")


def _blank(text: str) -> list[str]:
    return [""] * (text.count("\n") + 1)


def _cells(notebook: Any) -> list[Any]:
    """The cells of a notebook. Before version 4 they stood in worksheets."""
    if not isinstance(notebook, dict):
        return []
    sheets = notebook.get("worksheets")
    holders = [notebook, *(sheets if isinstance(sheets, list) else [])]
    lists = [holder.get("cells") for holder in holders if isinstance(holder, dict)]
    return [cell for cells in lists if isinstance(cells, list) for cell in cells]
