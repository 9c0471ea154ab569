"""The training step of a checkout and what it calls, found by parsing: the functions that say how a system is trained.

A step is a function, or a part of a script, that propagates a loss back. What it calls is followed inside of the
checkout by the names of functions and classes. Helpers that nothing in training calls are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fourfold_atlas.losses import holding, propagating

__all__ = ["reached"]

#: calls that propagate a loss back, and methods that frameworks call with a batch
_BACKWARD = frozenset({"backward", "manual_backward", "minimize", "value_and_grad", "apply_gradients"})
_STEPS = frozenset({"training_step", "training_losses", "train_step", "compute_loss", "shared_step"})
#: calls into libraries, whose names functions of a checkout share
_COMMON_TEXT = """
step to item train eval update mean sum get log print load save append backward zero_grad size view forward cuda cpu
detach clone keys values items format join write run main parse_args state_dict load_state_dict
"""
_COMMON = frozenset(_COMMON_TEXT.split())
#: functions of one name, from which on it tells nothing; and how far calls are followed
AMBIGUOUS, DEPTH = 4, 3
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class _Index:
    """Functions and the methods of classes, by name, each with its file."""

    functions: dict[str, list[tuple[str, Function]]] = field(default_factory=dict)
    forwards: dict[str, list[tuple[str, Function]]] = field(default_factory=dict)
    steps: list[tuple[str, ast.stmt]] = field(default_factory=list)

    def add(self, name: str, tree: ast.Module) -> None:
        """Take in a file."""
        backward = _BACKWARD | propagating(tree)
        for node in tree.body:
            for function in _functions(node):
                self.functions.setdefault(function.name, []).append((name, function))
                if function.name in _STEPS or backward & set(_calls_of(function)):
                    self.steps.append((name, function))
            if isinstance(node, ast.ClassDef):
                methods = [row for row in node.body if isinstance(row, Function) and row.name in ("forward", "call")]
                self.forwards.setdefault(node.name, []).extend((name, method) for method in methods)
                self.steps += [(name, method) for method in holding(node)]
            elif not isinstance(node, Function) and backward & set(_calls_of(node)):
                self.steps.append((name, node))

    def callees(self, names: Iterable[str]) -> Iterator[tuple[str, Function]]:
        """The functions of these names, and the forward passes of these classes, where a name tells one."""
        for name in names:
            rows = [*self.functions.get(name, ()), *self.forwards.get(name, ())]
            if len(rows) < AMBIGUOUS and name not in _COMMON and not name.startswith("__"):
                yield from rows


def reached(trees: Mapping[str, ast.Module]) -> dict[str, dict[int, int]]:
    """The lines of the training steps and of what they call, by file, each with the calls between it and a step.

    Empty where no loss is propagated back.

    Args:
        trees: the syntax tree of each file, by name.
    """
    index = _Index()
    for name, tree in trees.items():
        index.add(name, tree)
    lines: dict[str, dict[int, int]] = {}
    front: list[tuple[str, ast.stmt]] = index.steps
    visited: set[int] = set()
    for depth in range(DEPTH + 1):
        following: list[tuple[str, ast.stmt]] = []
        for name, node in front:
            if id(node) not in visited:
                visited.add(id(node))
                numbers = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                of_file = lines.setdefault(name, {})
                of_file.update({number: depth for number in numbers if number not in of_file})
                following += index.callees(_calls_of(node))
        front = following
    return lines


def _functions(node: ast.stmt) -> Iterator[Function]:
    if isinstance(node, ast.ClassDef):
        for row in node.body:
            yield from _functions(row)
    elif isinstance(node, Function):
        yield node


def _calls_of(node: ast.AST) -> Iterator[str]:
    """The names that a statement calls."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            name = getattr(part.func, "attr", getattr(part.func, "id", ""))
            if name:
                yield name
