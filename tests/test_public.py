"""The public API is listed once for people, type checkers and the interpreter."""

import ast
import inspect
from pathlib import Path

import fourfold
from fourfold import tasks

SOURCE = Path(fourfold.__file__)


def _typed() -> set[str]:
    """The names that type checkers see: those imported under TYPE_CHECKING."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {name.name for line in block.body if isinstance(line, ast.ImportFrom) for name in line.names}


def test_every_public_name_is_typed_exported_and_there() -> None:
    assert _typed() == set(fourfold.__all__) - {"__version__"}
    for name in fourfold.__all__:
        assert getattr(fourfold, name) is not None


def test_what_type_checkers_see_is_what_is_imported() -> None:
    """A name's type is that of the module it is imported from: the lazy import and the typed one agree."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    for line in block.body:
        assert isinstance(line, ast.ImportFrom)
        assert line.module is not None
        typed: dict[str, object] = {}
        exec(ast.unparse(line), typed)
        for name in line.names:
            assert getattr(fourfold, name.name) is typed[name.name], name.name


def test_no_module_of_a_task_hides_a_function_of_its_name() -> None:
    assert [name for name in tasks.__all__ if inspect.ismodule(getattr(tasks, name))] == []
