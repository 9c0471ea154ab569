"""The statements by which a loss is computed: the loss that is propagated back or returned, and all it depends on."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from fourfold_atlas.rules import finder

__all__ = ["computing", "contrasting", "entering", "holding", "propagating"]

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
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
#: products of two layers, draws of their units, and the parts of complex numbers, whose products differ too
_PRODUCTS = frozenset({"matmul", "outer", "dot", "mm", "bmm", "einsum", "tensordot"})
_UNITS = re.compile(r"(?i)sampl|bernoulli|binomial|gibbs|\brand|sigmoid")
_COMPLEX = re.compile(r"(?i)real|imag|_re\b|_im\b|conj")


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
    own = propagating(tree)
    for scope in ast.walk(tree):
        if isinstance(scope, ast.ClassDef):
            attributes = {name for node in ast.walk(scope) for name in _loss_attributes(node)}
            shared |= dict.fromkeys(ast.walk(scope), attributes)
        elif isinstance(scope, _Scope):
            lines |= _of_scope(scope, shared.get(scope, set()), results, own)
    return lines


def contrasting(tree: ast.Module) -> frozenset[int]:
    """The lines at which correlations of two layers in a model's samples are taken from those in data.

    So Boltzmann machines are trained by hand: the difference of two products of one kind, where units are drawn.
    """
    lines: set[int] = set()
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef) and (rows := _differences(scope)):
            text = ast.unparse(scope)
            lines |= rows if _UNITS.search(text) and not _COMPLEX.search(text) else set()
    return frozenset(lines)


def _differences(scope: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    """The lines of a function at which a product of some kind is taken from another of that kind."""
    kinds: dict[str, str] = {}
    lines: set[int] = set()
    for node in _statements(scope.body):
        for part in ast.walk(node):
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub):
                left, right = (_product(side, kinds) for side in (part.left, part.right))
                lines |= {node.lineno} if left and left == right else set()
        if isinstance(node, ast.Assign):
            kinds |= dict.fromkeys(_assigned(node), _product(node.value, kinds))
    return lines


def _product(value: ast.expr, kinds: Mapping[str, str]) -> str:
    """The function that multiplies two layers, if the value is such a product or a part of its mean."""
    if isinstance(value, ast.Name | ast.Attribute):
        return kinds.get(getattr(value, "attr", getattr(value, "id", "")), "")
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div | ast.Mult):
        return _product(value.left, kinds)
    name = getattr(value.func, "attr", getattr(value.func, "id", "")) if isinstance(value, ast.Call) else ""
    return name if name in _PRODUCTS else ""


def propagating(tree: ast.Module) -> frozenset[str]:
    """The functions of a source that propagate an argument back, by their names and by those of their shorter forms."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = {row.arg for row in (*node.args.args, *node.args.kwonlyargs)} - {"self"}
            losses = {name for part in ast.walk(node) if isinstance(part, ast.Expr) for name in _propagated(part)}
            names |= {node.name} if arguments & losses and node.name not in _ANYWHERE else set()
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            names |= set(_assigned(node)) if names & {getattr(row, "id", "") for row in node.value.args} else set()
    return frozenset(names)


def holding(scope: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods of a class that compute a loss which another of its methods propagates back."""
    attributes = {name for node in ast.walk(scope) for name in _loss_attributes(node)}
    for method in scope.body if attributes else ():
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            assigned = {name for node in ast.walk(method) if isinstance(node, ast.Assign) for name in _assigned(node)}
            if assigned & attributes:
                yield method


def _of_scope(scope: _Scope, attributes: set[str], results: Collection[str], own: Collection[str]) -> dict[int, str]:
    """The same in one function or script: its statements from the last to the first, by the names that they assign.

    Args:
        scope: a function or a script.
        attributes: the losses that another method of its object propagates.
        results: the names of functions whose results enter a loss.
        own: the names of functions of the source that propagate their argument back.
    """
    enters = getattr(scope, "name", "") in results
    lines: dict[int, str] = {}
    roots, traced = set(attributes), set(attributes)
    loss = ""
    for node in reversed(list(_statements(scope.body))):
        propagated = set(_propagated(node, own))
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


def _propagated(node: ast.stmt, own: Collection[str] = ()) -> Iterator[str]:
    """The names of the losses that a statement propagates back."""
    for part in _losses(node, own) if isinstance(node, ast.Expr | ast.Assign | ast.Return) else ():
        yield from _names(part)


def _loss_attributes(node: ast.AST) -> Iterator[str]:
    """The losses that an object holds and a statement propagates back, by the names of its attributes."""
    for part in _losses(node) if isinstance(node, ast.Expr | ast.Assign | ast.Return) else ():
        if isinstance(part, ast.Attribute):
            yield part.attr


def _losses(node: ast.AST, own: Collection[str] = ()) -> Iterator[ast.expr]:
    """The losses that a statement propagates back, by itself or by a function of these names."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in own:
            yield from call.args[:1]
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        given = [*call.args[:1], *(row.value for row in call.keywords if row.arg == "loss")]
        if call.func.attr in _BACKWARD:
            yield from given
        elif call.func.attr == "backward":
            gradient = not given or not _TRAINER.search(ast.unparse(call.func.value))
            yield from [call.func.value] if gradient else given


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
