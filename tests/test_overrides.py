"""The rule of docs/design.md on subclasses: what they replace is a usual answer that an interface documents."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import fourfold

ROOT = Path(fourfold.__file__).parent


def classes() -> list[type]:
    """Every class that the core defines."""
    modules = [importlib.import_module(info.name) for info in pkgutil.walk_packages(fourfold.__path__, "fourfold.")]
    return [c for m in modules for c in vars(m).values() if isinstance(c, type) and c.__module__ == m.__name__]


def replaced() -> Iterator[tuple[type, type, str]]:
    """A class, the class whose method or property it replaces, and the name; abstract ones are implemented only."""
    for cls in classes():
        for name in vars(cls):
            owner = next((base for base in cls.__mro__[1:] if name in vars(base)), object)
            member = vars(owner).get(name)
            code = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            public = owner.__module__.startswith("fourfold") and not name.startswith("_")
            if public and isinstance(code, FunctionType) and not getattr(code, "__isabstractmethod__", False):
                yield cls, owner, name


def called() -> set[str]:
    """The names of what the core calls: the classes among them are made, not only extended."""
    nodes = (node for path in ROOT.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_a_usual_answer_is_documented_where_it_is_first_given() -> None:
    pairs = [(cls, name) for cls, _, name in replaced()]
    assert len(pairs) > 100
    bare = {
        f"{cls.__qualname__}.{name}"
        for cls, name in pairs
        if not any(getattr(vars(base).get(name), "__doc__", None) for base in cls.__mro__[1:])
    }
    assert not bare


def test_a_class_that_is_used_by_itself_has_no_method_replaced() -> None:
    alone = called()
    pairs = {(cls, owner) for cls, owner, _ in replaced() if owner.__name__ in alone and not inspect.isabstract(owner)}
    assert not pairs
