"""The statements by which a loss is computed: the loss that is propagated back or returned, and all it depends on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from fourfold_atlas.rules import finder, reason

__all__ = ["computing", "drawing"]

_BACKWARD = frozenset({"backward", "manual_backward", "minimize"})
_LOSS = finder("sources", "loss")
_STEP = re.compile(r"(?:training|train|shared|model)_step|training_losses|forward_train|get_losses")
_COMPARES = re.compile(r"loss|cross_entropy|criterion|mse|bce|nll|log_prob", re.I)
_DRAWS = reason("code", "draws")
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def computing(tree: ast.Module) -> dict[int, str]:
    """By the line of each statement that a loss depends on, the statement that computes that loss."""
    lines: dict[int, str] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, _Scope):
            lines |= _of_scope(scope)
    return lines


def drawing(tree: ast.Module) -> dict[int, bool]:
    """The lines of functions whose name says that they draw examples, and whether a loop repeats each."""
    lines: dict[int, bool] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef) and _DRAWS.search(scope.name):
            lines |= dict.fromkeys(_numbers(scope), False)
            for loop in ast.walk(scope):
                if isinstance(loop, ast.For | ast.While):
                    lines |= dict.fromkeys(_numbers(loop), True)
    return lines


def _numbers(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _of_scope(scope: _Scope) -> dict[int, str]:
    """The same in one function or script: its statements from the last to the first, by the names that they assign."""
    lines: dict[int, str] = {}
    roots: set[str] = set()
    traced: set[str] = set()
    loss = ""
    for node in reversed(list(_statements(scope.body))):
        propagated = set(_propagated(node))
        if isinstance(node, ast.Return) and node.value is not None and _returns_loss(scope, node.value):
            propagated |= set(_names(node.value))
            if _compares(node.value):
                loss = lines[node.lineno] = ast.unparse(node)
        roots |= propagated
        traced |= propagated
        assigned = set(_assigned(node))
        if not assigned & traced or not (value := getattr(node, "value", None)):
            continue
        if assigned & roots and any(isinstance(part, ast.Call | ast.BinOp) for part in ast.walk(value)):
            loss = ast.unparse(node)
        if loss:
            lines[node.lineno] = loss
        traced |= set(_names(value))
    return lines


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a scope in order, without those of scopes within it."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name in ("body", "orelse", "finalbody", "handlers"):
                yield from _statements(getattr(node, name, ()))


def _propagated(node: ast.stmt) -> Iterator[str]:
    """The names of the losses that a statement propagates back."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _BACKWARD:
        for part in call.args or [call.func.value]:
            yield from _names(part)


def _returns_loss(scope: _Scope, value: ast.expr) -> bool:
    name = getattr(scope, "name", "")
    return bool(_LOSS.search(name) or _STEP.search(name) or _compares(value)) or any(map(_LOSS.search, _names(value)))


def _compares(value: ast.expr) -> bool:
    calls = (part.func for part in ast.walk(value) if isinstance(part, ast.Call))
    return any(_COMPARES.search(getattr(call, "attr", getattr(call, "id", ""))) for call in calls)


def _assigned(node: ast.stmt) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets if not isinstance(node, ast.For | ast.AsyncFor) else ():
        for part in ast.walk(target) if target is not None else ():
            if isinstance(part, ast.Name) and part.id != "self":
                yield part.id
            elif isinstance(part, ast.Attribute):
                yield part.attr


def _names(value: ast.AST) -> Iterator[str]:
    """The names that an expression reads, without those of the functions that it calls."""
    called = {id(part.func) for part in ast.walk(value) if isinstance(part, ast.Call)}
    for part in ast.walk(value):
        if isinstance(part, ast.Name) and part.id != "self" and id(part) not in called:
            yield part.id
        elif isinstance(part, ast.Attribute) and id(part) not in called:
            yield part.attr
