"""What a loss compares with what: names carry roles through assignments, calls and local helpers.

A role says where a tensor comes from: an example, drawn noise, a label, a sum of both, a network's answer to one of them. Roles
spread through a source as values would, without running it; a loss whose two sides have roles is a fact that no single
line shows: an answer to a noised example against the noise, an answer to the earlier pieces against the later ones.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fourfold.atlas.evidence import Claim as C  # noqa: N817
from fourfold.atlas.evidence import shortened
from fourfold.atlas.roles import NONE, Roles, family, function, hint, is_loader, verdict

__all__ = ["Fact", "facts"]

MAX_STEPS = 20_000
MAX_DEPTH = 40
MAX_INLINE = 2
_SAME = frozenset("data logits sample prediction T mT value loss".split())  # noqa: SIM905


@dataclass(frozen=True)
class Fact:
    """What one loss compares: the claim it supports, its weight, its line and its text."""

    claim: C
    weight: float
    line: int
    quote: str


@dataclass
class _Reader:
    """One pass over a source: names and their roles, helpers, and the facts found."""

    offset: int
    helpers: dict[str, ast.FunctionDef]
    names: dict[str, Roles] = field(default_factory=dict)
    asked: dict[str, dict[str, ast.expr]] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)
    found: dict[tuple[C, int], Fact] = field(default_factory=dict)
    returned: list[Roles] = field(default_factory=list)
    steps: int = 0
    inline: int = 0

    # -- statements
    def run(self, body: Sequence[ast.stmt]) -> Roles:
        """Read statements in order; the roles of what is returned."""
        back: Roles = NONE
        for node in body:
            self.steps += 1
            if self.steps > MAX_STEPS:
                break
            read: Callable[[ast.stmt], Roles] = getattr(self, f"read_{type(node).__name__.lower()}", self.read_other)
            back |= read(node)
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for name in ("body", "orelse", "finalbody"):
                    back |= self.run(getattr(node, name, []))
        return back

    def read_functiondef(self, node: ast.FunctionDef) -> Roles:
        """Read a function by what its parameters are called."""
        kept = dict(self.names)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            self.names.pop(argument.arg, None)
        self.run(node.body)
        self.names = {**kept, **{name: roles for name, roles in self.names.items() if "." in name}}
        return NONE

    def read_return(self, node: ast.Return) -> Roles:
        if node.value is None:
            return NONE
        parts = node.value.elts if isinstance(node.value, ast.Tuple) else []
        self.returned = [self.roles(part) for part in parts]
        return self.roles(node.value)

    def read_assign(self, node: ast.Assign) -> Roles:
        for target in node.targets:
            self.assign(target, node.value)
        return NONE

    def read_annassign(self, node: ast.AnnAssign) -> Roles:
        if node.value is not None:
            self.assign(node.target, node.value)
        return NONE

    def read_augassign(self, node: ast.AugAssign) -> Roles:
        self.bind(node.target, _combined(node.op, self.roles(node.target), self.roles(node.value)))
        return NONE

    def read_for(self, node: ast.For) -> Roles:
        """A loop over batches hands out an example, and often its label."""
        target, source = node.target, node.iter
        if isinstance(target, ast.Tuple) and isinstance(source, ast.Call) and _last(source.func) == "enumerate":
            target = target.elts[-1]
        if not is_loader(_text(source)):
            self.roles(source)
            return NONE
        for k, part in enumerate(target.elts if isinstance(target, ast.Tuple | ast.List) else [target]):
            self.bind(part, frozenset({"label"} if k else {"data"}))
        return NONE

    def read_other(self, node: ast.stmt) -> Roles:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.roles(child)
        return NONE

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and not value.args and (kind := family(_last(value.func))):
            self.losses[_text(target)] = kind
        if isinstance(target, ast.Tuple | ast.List):
            self.unpack(target.elts, value)
        else:
            self.bind(target, self.roles(value))

    def unpack(self, targets: list[ast.expr], value: ast.expr) -> None:
        """Several names at once: part by part where the parts are known, else by what the names say."""
        self.returned = []
        whole = self.roles(value)
        parts = [self.roles(part) for part in value.elts] if isinstance(value, ast.Tuple | ast.List) else self.returned
        if len(parts) == len(targets):
            for target, roles in zip(targets, parts, strict=True):
                self.bind(target, roles)
            return
        pair = "data" in whole and len(targets) == 2 and not any(role.startswith("of:") for role in whole)
        for k, target in enumerate(targets):
            said = hint(_last(target))
            second = pair and k == 1 and not said & {"data", "noise", "time"}
            own = said & {"noise", "time", "noised", "label"} if k or len(_last(target)) > 2 else NONE
            self.bind(target, frozenset({"label"}) if second else said if own else whole)

    def bind(self, target: ast.expr, roles: Roles) -> None:
        """Give a name its roles; a name that says more than its value does wins."""
        if isinstance(target, ast.Name | ast.Attribute):
            said = hint(_last(target))
            if roles <= {"data", "later"} and "data" in roles and "label" in said and len(_last(target)) > 2:
                roles = (roles - {"data"}) | said
            elif roles == {"time"} and "latent" in said:
                roles = frozenset({"noise"})
            elif "pred" in roles and "fake" in said:
                roles = roles | said
            self.names[_text(target)] = roles or said
        elif isinstance(target, ast.Subscript):
            self.names[_text(target.value)] = self.roles(target.value) | roles
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.bind(part, roles)

    # -- expressions
    def roles(self, node: ast.expr, depth: int = 0) -> Roles:
        """Where an expression's value comes from."""
        self.steps += 1
        if depth > MAX_DEPTH or self.steps > MAX_STEPS or isinstance(node, ast.Compare | ast.Lambda | ast.Constant):
            return NONE
        value: Callable[[ast.expr, int], Roles] = getattr(self, f"of_{type(node).__name__.lower()}", self.of_other)
        return value(node, depth + 1)

    def of_name(self, node: ast.Name | ast.Attribute, depth: int) -> Roles:
        text = _text(node)
        if text in self.names:
            return self.names[text]
        if isinstance(node, ast.Attribute) and node.attr in _SAME:
            return self.roles(node.value, depth)
        return hint(_last(node))

    of_attribute = of_name

    def of_subscript(self, node: ast.Subscript, depth: int) -> Roles:
        roles, text = self.roles(node.value, depth), _text(node.slice)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return hint(node.slice.value) or roles
        if re.search(r"(?:^|, ?)\(?1:(?:,|$|\))|\+ ?1:", text):
            return roles | {"later"}
        return roles | {"earlier"} if re.search(r":-1(?:,|$|\))", text) else roles

    def of_binop(self, node: ast.BinOp, depth: int) -> Roles:
        if isinstance(node.op, ast.Pow):
            self.squared(node.left, depth)
            return self.roles(node.left, depth)
        return _combined(node.op, self.roles(node.left, depth), self.roles(node.right, depth))

    def of_unaryop(self, node: ast.UnaryOp, depth: int) -> Roles:
        return self.roles(node.operand, depth)

    def of_ifexp(self, node: ast.IfExp, depth: int) -> Roles:
        return self.roles(node.body, depth) | self.roles(node.orelse, depth)

    def of_tuple(self, node: ast.Tuple | ast.List, depth: int) -> Roles:
        return NONE.union(*(self.roles(part, depth) for part in node.elts[:20]))

    of_list = of_tuple

    def of_dict(self, node: ast.Dict, depth: int) -> Roles:
        return NONE.union(*(self.roles(value, depth) for value in node.values[:20]))

    def of_other(self, node: ast.expr, depth: int) -> Roles:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.roles(child, depth)
        return NONE

    def of_call(self, node: ast.Call, depth: int) -> Roles:
        """A loss is noted; a known function has a known value; a helper is read; anything else is a network's answer."""
        name = _last(node.func)
        given = [self.roles(part, depth) for part in (*node.args[:12], *(k.value for k in node.keywords[:20]))]
        every = NONE.union(*given)
        self.squares(node, name, depth)
        loss = family(name) or self.losses.get(_text(node.func), "")
        if loss and len(given) >= 2:
            self.compare(node, *self.sides(node), loss)
            return frozenset({"loss"})
        kind = function(name)
        if kind in ("shapes", "keeps"):
            owner = self.roles(node.func.value, depth) if isinstance(node.func, ast.Attribute) else NONE
            return owner | every | ({"flat"} if kind == "shapes" and _flattens(node, name) else NONE)
        if kind:
            return frozenset({kind}) - {"nothing"}
        if name in self.helpers and self.inline < MAX_INLINE:
            return self.helped(self.helpers[name], node, given)
        return self.answer(node, every)

    def helped(self, helper: ast.FunctionDef, node: ast.Call, given: list[Roles]) -> Roles:
        """A helper of the same source, read with the roles of its arguments."""
        names = [a.arg for a in (*helper.args.posonlyargs, *helper.args.args) if a.arg not in ("self", "cls")]
        passed = dict(zip(names, given[: len(node.args)], strict=False))
        passed |= {k.arg: roles for k, roles in zip(node.keywords, given[len(node.args) :], strict=False) if k.arg}
        kept, self.names = self.names, {**self.names, **{name: roles for name, roles in passed.items() if roles}}
        self.inline += 1
        back = self.run(helper.body)
        self.inline -= 1
        self.names = kept
        return back

    def answer(self, node: ast.Call, every: Roles) -> Roles:
        """A network's answer: of what was it asked?"""
        base = {role for role in every if not role.startswith("of:")} - {"flat", "time", "loss", "constant"}
        if not base:
            return NONE
        asked = "fake" if "fake" in base else "data" if base & {"data", "label"} and "noise" not in base else ""
        if asked:
            self.asked.setdefault(_text(node.func), {})[asked] = node
        made = {"fake"} if "noise" in base and not base & {"data", "noised", "pred"} else set()
        return frozenset({"pred", *made, *(f"of:{role}" for role in base)})

    # -- losses
    def sides(self, node: ast.Call) -> tuple[Roles, Roles]:
        """The two sides of a loss, given by place or by name."""
        parts = [self.roles(part) for part in (*node.args, *(keyword.value for keyword in node.keywords))]
        return parts[0], parts[1]

    def squares(self, node: ast.Call, name: str, depth: int) -> None:
        """A difference inside a square or a norm is a loss too."""
        if name in ("square", "norm", "abs", "mean_flat", "sum_flat") and node.args:
            self.squared(node.args[0], depth)
        elif name == "pow" and isinstance(node.func, ast.Attribute):
            self.squared(node.args[0] if len(node.args) == 2 else node.func.value, depth)

    def squared(self, node: ast.expr, depth: int) -> None:
        while (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and function(node.func.attr) == "keeps"
        ):
            node = node.func.value
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            self.compare(node, self.roles(node.left, depth), self.roles(node.right, depth), "square")

    def compare(self, node: ast.expr, a: Roles, b: Roles, kind: str) -> None:
        """Record what a loss with these two sides says."""
        if "pred" in b and "pred" not in a:
            a, b = b, a
        for claim, weight in verdict(a, b, kind):
            key = (claim, node.lineno)
            if key not in self.found or self.found[key].weight < weight:
                self.found[key] = Fact(claim, weight, node.lineno + self.offset, shortened(_text(node)))

    def games(self) -> Iterator[Fact]:
        """One network that judges both examples and what was made from noise."""
        for name, asked in self.asked.items():
            if {"fake", "data"} <= asked.keys() and not family(name.rsplit(".", 1)[-1]):
                yield Fact(C.GAME, 3.0, asked["fake"].lineno + self.offset, shortened(_text(asked["fake"])))


def _combined(op: ast.operator, a: Roles, b: Roles) -> Roles:
    """Noise added to an example makes a noised one; their difference is a velocity; noise added to a code leaves a code."""
    for noise, clean in ((a, b), (b, a)):
        pure = "noise" in noise and not noise & {"data", "noised", "latent", "pred"}
        if pure and clean & {"data", "latent"} and not clean & {"noise", "pred"}:
            rest = (a | b) - {"noise", "time", "label", "data", "latent"}
            if isinstance(op, ast.Sub):
                return rest | {"diff"}
            if isinstance(op, ast.Add):
                return rest | {"noised"} if "data" in clean else frozenset({"latent"})
    return a | b


def _flattens(node: ast.Call, name: str) -> bool:
    return "->" in _text(node) if name == "rearrange" else len(node.args) > 1 and "-1" in _text(node.args[0])


def _last(node: ast.expr) -> str:
    """The last part of a dotted name, through calls and subscripts."""
    while isinstance(node, ast.Call | ast.Subscript | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.AST) -> str:
    try:
        return ast.unparse(node)[:400]
    except (RecursionError, ValueError):
        return ""


def facts(tree: ast.Module, offset: int = 0) -> list[Fact]:
    """Every loss of a parsed source whose two sides are known.

    Args:
        tree: a parsed source or excerpt.
        offset: lines before it.
    """
    helpers: dict[str, ast.FunctionDef] = {}
    reader = _Reader(offset, helpers)
    try:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name not in ("forward", "__init__", "__call__"):
                helpers.setdefault(node.name, node)
        reader.run(_opened(tree.body))
    except RecursionError:
        return list(reader.found.values())
    return [*reader.found.values(), *reader.games()]


def _opened(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Classes opened: constructors first, so that what they name is known."""
    out: list[ast.stmt] = []
    for node in body:
        opened = (
            sorted(_opened(node.body), key=lambda child: getattr(child, "name", "") != "__init__")
            if isinstance(node, ast.ClassDef)
            else [node]
        )
        out += opened
    return out
