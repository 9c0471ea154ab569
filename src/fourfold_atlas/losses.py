"""The statements by which a loss is computed: the loss that is propagated back or returned, and all it depends on."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator

from fourfold_atlas.rules import finder, reason

__all__ = ["computing", "drawing", "entering"]

#: calls that propagate the loss back that they are given
_BACKWARD = frozenset({"manual_backward", "minimize", "compute_gradients", "gradients"})
#: what holds a loss's own ``backward``, whose argument is a gradient; a trainer's takes the loss instead
_TRAINER = re.compile(r"accel|fabric|engine|optim|scaler|amp|booster|strategy|self$", re.I)
#: functions of libraries and modules, whose results say nothing by their names
_ANYWHERE = frozenset(
    {"forward", "call", "mean", "sum", "to", "view", "reshape", "get", "item", "size", "main", "step"}
)
_LOSS = finder("sources", "loss")
_STEP = re.compile(r"(?:training|train|shared|model)_step|training_losses|forward_train|get_losses")
_COMPARES = re.compile(r"loss|cross_entropy|criterion|mse|bce|nll|log_prob", re.I)
_DRAWS = reason("code", "draws")
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def entering(trees: Iterable[ast.Module]) -> frozenset[str]:
    """The names of the functions whose results are losses or terms of one: those that its own statement calls."""
    names: set[str] = set()
    for tree in trees:
        losses = set(computing(tree).values())
        for node in ast.walk(tree) if losses else ():
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Return) and ast.unparse(node) in losses:
                calls = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
                names |= {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
    return frozenset(names - _ANYWHERE)


def computing(tree: ast.Module, results: Collection[str] = ()) -> dict[int, str]:
    """By the line of each statement that a loss depends on, the statement that computes that loss.

    Args:
        tree: a source.
        results: the names of functions whose results enter a loss elsewhere.
    """
    lines: dict[int, str] = {}
    shared: dict[ast.AST, set[str]] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, ast.ClassDef):
            attributes = {name for node in ast.walk(scope) for name in _loss_attributes(node)}
            shared |= dict.fromkeys(ast.walk(scope), attributes)
        elif isinstance(scope, _Scope):
            lines |= _of_scope(scope, shared.get(scope, set()), results)
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


def _of_scope(scope: _Scope, attributes: set[str], results: Collection[str]) -> dict[int, str]:
    """The same in one function or script: its statements from the last to the first, by the names that they assign.

    Args:
        scope: a function or a script.
        attributes: the losses that another method of its object propagates.
        results: the names of functions whose results enter a loss.
    """
    enters = getattr(scope, "name", "") in results
    lines: dict[int, str] = {}
    roots, traced = set(attributes), set(attributes)
    loss = ""
    for node in reversed(list(_statements(scope.body))):
        propagated = set(_propagated(node))
        if isinstance(node, ast.Return) and node.value is not None and (enters or _returns_loss(scope, node.value)):
            if _compares(node.value) or (enters and _combines(node.value)):
                loss = lines[node.lineno] = ast.unparse(node)
                traced |= set(_names(node.value))
            else:
                propagated |= set(_names(node.value))
        roots |= propagated
        traced |= propagated
        assigned = set(_assigned(node))
        if not assigned & traced or not (value := getattr(node, "value", None)):
            continue
        if assigned & roots and _combines(value) and not _fetches(value):
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
    for part in _losses(node) if isinstance(node, ast.Expr | ast.Assign | ast.Return) else ():
        yield from _names(part)


def _loss_attributes(node: ast.AST) -> Iterator[str]:
    """The losses that an object holds and a statement propagates back, by the names of its attributes."""
    for part in _losses(node) if isinstance(node, ast.Expr | ast.Assign | ast.Return) else ():
        if isinstance(part, ast.Attribute):
            yield part.attr


def _losses(node: ast.AST) -> Iterator[ast.expr]:
    """The losses that a statement propagates back."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        given = [*call.args[:1], *(row.value for row in call.keywords if row.arg == "loss")]
        if call.func.attr in _BACKWARD:
            yield from given
        elif call.func.attr == "backward":
            own = not given or not _TRAINER.search(ast.unparse(call.func.value))
            yield from [call.func.value] if own else given


def _returns_loss(scope: _Scope, value: ast.expr) -> bool:
    name = getattr(scope, "name", "")
    return bool(_LOSS.search(name) or _STEP.search(name) or _compares(value)) or any(map(_LOSS.search, _names(value)))


def _compares(value: ast.expr) -> bool:
    calls = (part.func for part in ast.walk(value) if isinstance(part, ast.Call))
    return any(_COMPARES.search(getattr(call, "attr", getattr(call, "id", ""))) for call in calls)


def _combines(value: ast.expr) -> bool:
    return any(isinstance(part, ast.Call | ast.BinOp | ast.UnaryOp) for part in ast.walk(value))


def _fetches(value: ast.expr) -> bool:
    """True for a session's call, which fetches a loss that is computed elsewhere."""
    return isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "run"


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
    functions = {id(part.func) for part in ast.walk(value) if isinstance(part, ast.Call)}
    for part in ast.walk(value):
        if isinstance(part, ast.Name) and part.id != "self" and id(part) not in functions:
            yield part.id
        elif isinstance(part, ast.Attribute) and id(part) not in functions:
            yield part.attr
