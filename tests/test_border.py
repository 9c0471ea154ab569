"""The form of the house: no circle of imports, no wing named in the core, few imports inside functions, and few
questions of which space it is."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from fourfold import spaces
from fourfold.core import Space

SOURCE = Path(__file__).parents[1] / "src"

INSIDE = 17
"""Imports inside functions of the core. Each needs a reason: a start without torch, or a library that few need."""

KINDS_ASKED = 47
"""Questions of which space an object is, in ``isinstance``: a space is asked for what it holds instead."""

_PUBLIC = [(name, getattr(spaces, name)) for name in spaces.__all__]
KINDS = {name for name, value in _PUBLIC if isinstance(value, type) and issubclass(value, Space)}
"""The names of the classes of spaces."""


@functools.cache
def modules() -> dict[str, ast.Module]:
    """The source of every module by its name; a package is known by its folder."""
    paths = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    return {name.removesuffix(".__init__"): ast.parse(path.read_text()) for name, path in paths.items()}


def imports(tree: ast.Module, names: Mapping[str, object]) -> Iterator[str]:
    """The modules that a module imports, wherever the import stands: also in functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            below = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in names else node.module for name in below)


def absolute_imports(tree: ast.Module) -> Iterator[str]:
    """The names of all modules that a module imports, of this project or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components: list[set[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in graph[node]:
            if other not in number:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == number[node]:
            place = stack.index(node)
            components.append({*stack[place:]})
            del stack[place:]

    for node in graph:
        if node not in number:
            visit(node)
    return [component for component in components if len(component) > 1]


def graph() -> dict[str, set[str]]:
    """Who imports whom. A module that imports a name of its own package does not depend on all of that package."""
    trees = modules()
    return {
        name: {other for other in imports(tree, trees) if not f"{name}.".startswith(f"{other}.")}
        for name, tree in trees.items()
    }


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d", "a"}}) == [{"a", "b", "c"}]
    tree = ast.parse("if TYPE_CHECKING:\n    from p.a import X\ndef f():\n    import p.b\n    from p import c, Y")
    assert {*imports(tree, dict.fromkeys(["p", "p.a", "p.b", "p.c"]))} == {"p", "p.a", "p.b", "p.c"}


def test_no_imports_make_a_circle():
    assert circles(graph()) == []


def test_the_core_names_no_wing():
    wings = [path.name for path in SOURCE.glob("fourfold_*") if path.is_dir()]
    assert wings
    texts = {path: path.read_text() for path in (SOURCE / "fourfold").rglob("*") if path.suffix in (".py", ".j2")}
    assert [(path.name, wing) for path, text in texts.items() for wing in wings if wing in text] == []


def test_tests_outside_a_wing_do_not_import_it():
    root = SOURCE.parent
    wings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["fourfold"]["wings"]
    strangers = []
    for path in (root / "tests").rglob("*.py"):
        here = str(path.relative_to(root))
        others = {
            f"fourfold_{wing}"
            for wing, files in wings.items()
            if not here.startswith(tuple(f"{name}/" for name in files))
        }
        roots = {f"{module}.x".partition(".")[0] for module in absolute_imports(ast.parse(path.read_text()))}
        strangers += [(here, wing) for wing in others & roots]
    assert strangers == []


def test_imports_inside_functions_become_fewer():
    core = [tree for name, tree in modules().items() if name.partition(".")[0] == "fourfold"]
    functions = (node for tree in core for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    inside = {
        node for function in functions for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert len(inside) <= INSIDE


def asked_kinds(tree: ast.AST, kinds: set[str]) -> int:
    """The calls of ``isinstance`` that name one of these classes."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance")
    return sum(bool(kinds & {*re.findall(r"\w+", ast.unparse(call.args[1]))}) for call in calls)


def test_questions_of_which_space_it_is_become_fewer():
    assert asked_kinds(ast.parse("isinstance(x, Table | Text), isinstance(y, spaces.Table), Table(x)"), KINDS) == 2
    assert sum(asked_kinds(tree, KINDS) for tree in modules().values()) <= KINDS_ASKED


ROOMS_OF_TRAINING = ("engine", "tournament", "parallel", "runs")
"""Rooms that serve every paradigm and every space."""


def test_training_asks_for_no_paradigm_and_no_kind_of_space():
    trees = {name: tree for name, tree in modules().items() if name.split(".")[1:2] in [[r] for r in ROOMS_OF_TRAINING]}
    aliases = [(name, alias.name) for name, tree in trees.items() for alias in imported_names(tree)]
    assert ("fourfold.engine.loop", "GenerativeModel") in aliases
    assert [pair for pair in aliases if pair[1] in {"Paradigm", *KINDS}] == []


def imported_names(tree: ast.AST) -> Iterator[ast.alias]:
    """The names that a module imports from others."""
    return (alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names)


def test_shards_are_asked_about_in_one_room():
    words = re.compile(r"DTensor|to_local|full_tensor|fully_shard|FSDPModule|\.sharded\b|is_sharded")
    texts = {path: path.read_text() for path in (SOURCE / "fourfold").rglob("*.py")}
    rooms = {path.relative_to(SOURCE / "fourfold").parts[0] for path, text in texts.items() if words.search(text)}
    assert rooms == {"parallel"}


def draws(tree: ast.AST) -> Iterator[str]:
    """The calls that draw a category themselves: by a library, or by a search in a sum of masses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            shares = any(keyword.arg == "p" for keyword in node.keywords)
            sums = any("cumsum" in ast.unparse(argument) for argument in node.args[:1])
            if name in {"multinomial", "gumbel_softmax"} or (name == "choice" and shares):
                yield ast.unparse(node)
            if name == "searchsorted" and (sums or "cumsum" in ast.unparse(node.func)):
                yield ast.unparse(node)


def test_categories_are_drawn_in_one_file():
    ways = "torch.multinomial(w, 1), r.choice(5, p=w), np.searchsorted(w.cumsum(0), u), w.cumsum(0).searchsorted(u)"
    assert len([*draws(ast.parse(ways))]) == 4
    files = {name for name, tree in modules().items() if any(draws(tree))}
    assert files <= {"fourfold.maths.categorical", "fourfold.data.stored"}  # the latter counts blocks of a file
