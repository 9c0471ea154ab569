"""Losses of a checkout by the values that they compare: data, noise, times and outputs of networks.

Values are followed through assignments, and through the functions of the checkout, by name. A network is whatever is
called and is neither a function of the checkout nor of a library.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from fourfold_atlas.evidence import Claim, Evidence, Form, Reader, shortened
from fourfold_atlas.losses import computing
from fourfold_atlas.rules import COMPARED

__all__ = ["METHODS", "compared"]

#: how far calls are followed, and from how many functions of one name on it tells nothing
DEPTH, AMBIGUOUS = 3, 4
#: the votes of a comparison, and of one with labels, which stand beside many other losses
WEIGHT, OF_LABELS = 3.0, 1.5
_GAUSSIAN = re.compile(r"(?:^|_)(?:randn?_?(?:like)?n|randn\w*|normal_?|random_normal|standard_normal|gauss\w*)$")
_UNIFORM = re.compile(r"^(?:rand(?:om)?(?:_like)?|uniform_?|random_uniform|randint\w*|bernoulli_?|logistic)$")
_NOISE = re.compile(r"^(?:noise|eps|epsilon)$")
_TIME = re.compile(r"^(?:t|ts|time|times|timesteps?|sigmas?)$")
_ERROR = re.compile(
    r"^(?:mse|l1|l2|smooth_l1|huber|mean_squared_error|squared_error|mse_loss|l1_loss|l2_loss|"
    r"smooth_l1_loss|huber_loss|mean_absolute_error|loss_fn|loss_func|criterion\w*|\w*loss)$",
    re.I,
)
_CLASSES = re.compile(r"(?:softmax|categorical)_cross_?entropy|^cross_?entropy(?!.*binary)|^nll_loss|^nllloss", re.I)
_MIXTURE = re.compile(r"logistic|mixture|mdn|dmol|gmm", re.I)
_CONSTRUCTED = re.compile(r"^(?:MSE|L1|SmoothL1|Huber|CrossEntropy|NLL)Loss$")
_DISTANCES = frozenset({"abs", "square", "norm", "pow", "l2norm", "squared_norm"})
#: calls that make no value of the loss
_EMPTY = frozenset(
    {"len", "range", "print", "int", "float", "str", "isinstance", "zeros", "ones", "arange", "zeros_like"}
)
#: methods of a tensor: those that only change its form, and those that bring another value in
_BINARY = frozenset(
    {"add", "add_", "copy_", "sub", "sub_", "mul", "mul_", "div", "div_", "matmul", "mm", "bmm", "lerp", "dot"}
)
_FORMS = """
to type view reshape expand repeat permute transpose cuda cpu float double long int astype unsqueeze squeeze flatten
contiguous sum mean clamp clamp_ clip gather index_select narrow split chunk get view_as expand_as type_as log exp sqrt
repeat_interleave pow std var max min detach clone unfold roll flip item numpy requires_grad_ half bool
"""
METHODS = _BINARY | frozenset(_FORMS.split())
#: functions of libraries that are layers of a network
_LAYER = re.compile(
    r"^(?:\w*conv\w*|dense|linear|fully_connected|matmul|\w*_rnn|\w*lstm\w*|\w*gru\w*|xw_plus_b|einsum)$", re.I
)
_LABELS = re.compile(r"label|class|categor|(?:^|\W)y(?:_|$|\W)|(?:^|_)gt(?:_|$)", re.I)
_NAMES = ("labels", "logits", "input", "target", "y_true", "y_pred", "predictions", "x", "x_start")
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Value:
    """The origins of a value: data, noise, times and networks.

    Attributes:
        data: the members of a batch, or the arguments of the function.
        noise: whether Gaussian noise entered.
        time: whether a uniform draw or a time entered.
        networks: the networks that it went through.
        difference: whether it is a difference of two values, of which at most one is noise.
    """

    data: frozenset[str] = frozenset()
    noise: bool = False
    time: bool = False
    networks: frozenset[str] = frozenset()
    difference: bool = False

    def __or__(self, other: Value) -> Value:
        return Value(
            self.data | other.data,
            self.noise or other.noise,
            self.time or other.time,
            self.networks | other.networks,
        )


NOTHING = Value()
_Values = Value | tuple[Value, ...]


def whole(values: _Values) -> Value:
    """One value of several."""
    if isinstance(values, Value):
        return values
    total = NOTHING
    for value in values:
        total |= value
    return total


@dataclass
class _Checkout:
    """The functions of a checkout by name, the names of its classes and imports, and of the losses it constructs."""

    functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)
    summaries: dict[int, _Values] = field(default_factory=dict)
    others: set[str] = field(default_factory=lambda: {*dir(builtins), "torch", "nn", "F", "tf", "np"})

    @staticmethod
    def of(trees: Mapping[str, ast.Module]) -> _Checkout:
        checkout = _Checkout()
        chosen: list[tuple[ast.Assign, ast.Call]] = []
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    checkout.functions.setdefault(node.name, []).append(node)
                elif isinstance(node, ast.ClassDef):
                    checkout.others.add(node.name)
                elif isinstance(node, ast.ImportFrom):
                    checkout.others |= {row.asname or row.name for row in node.names if row.name.islower()}
                elif isinstance(node, ast.Import):
                    checkout.others |= {(row.asname or row.name).partition(".")[0] for row in node.names}
                elif isinstance(node, ast.Assign):
                    value = node.value.body if isinstance(node.value, ast.Lambda) else node.value
                    name = _function_name(value) if isinstance(value, ast.Call) else ""
                    if _CONSTRUCTED.match(name) or value is not node.value:
                        checkout.losses |= dict.fromkeys((_last(target) for target in node.targets), name)
                    elif isinstance(value, ast.Call):
                        chosen.append((node, value))
        for node, call in chosen:
            if loss := checkout.chosen(call):
                checkout.losses |= dict.fromkeys((_last(target) for target in node.targets), loss)
        return checkout

    def chosen(self, call: ast.Call) -> str:
        """The loss that a function of the checkout constructs, by the name that it is given where there are several."""
        function = self.function(_function_name(call))
        parts = (part.value for part in ast.walk(function or call) if isinstance(part, ast.Return))
        names = [_function_name(value) for value in parts if isinstance(value, ast.Call)]
        names = [name for name in names if _CONSTRUCTED.match(name)]
        words = {str(part.value).replace("_", "").lower() for part in call.args if isinstance(part, ast.Constant)}
        fitting = [name for name in names if any(word and word in name.lower() for word in words)]
        return next(iter(fitting or (names if len(names) == 1 else ())), "")

    def function(self, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        rows = self.functions.get(name, [])
        return rows[0] if 0 < len(rows) < AMBIGUOUS and name not in ("forward", "call", "__call__") else None


@dataclass
class _Reader:
    """The values of one scope, read from its first statement to its last."""

    checkout: _Checkout
    depth: int = 0
    values: dict[str, _Values] = field(default_factory=dict)
    returned: list[_Values] = field(default_factory=list)
    finds: list[tuple[int, Claim]] = field(default_factory=list)
    line: int = 0

    def read(self, scope: _Scope) -> None:
        if not isinstance(scope, ast.Module):
            for row in (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs):
                name = row.arg
                self.values[name] = Value(
                    frozenset() if name == "self" or _NOISE.match(name) or _TIME.match(name) else frozenset({name}),
                    bool(_NOISE.match(name)),
                    bool(_TIME.match(name)),
                )
        self.body(scope.body)

    def body(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            self.line = node.lineno
            if isinstance(node, ast.Assign):
                value = self.value(node.value)
                for target in node.targets:
                    self.assign(target, value)
            elif isinstance(node, ast.AugAssign):
                self.assign(node.target, whole(self.value(node.target)) | whole(self.value(node.value)))
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.assign(node.target, self.value(node.value))
            elif isinstance(node, ast.Return) and node.value is not None:
                self.returned.append(self.value(node.value))
            elif isinstance(node, ast.Expr):
                value, call = self.value(node.value), node.value
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr.endswith("_"):
                    self.assign(call.func.value, value)  # a tensor is changed in place
            elif isinstance(node, ast.For | ast.AsyncFor):
                self.value(node.iter)
                self.assign(node.target, NOTHING)
            for name in ("body", "orelse", "finalbody"):
                self.body(getattr(node, name, []))
            for handler in getattr(node, "handlers", []):
                self.body(handler.body)

    def assign(self, target: ast.expr, value: _Values) -> None:
        """Name a value. One of which nothing is known, such as a batch, is data."""
        if isinstance(target, ast.Tuple | ast.List):
            count = len(target.elts)
            values = value if isinstance(value, tuple) and len(value) == count else (whole(value),) * count
            for part, single in zip(target.elts, values, strict=True):
                self.assign(part, single)
        elif isinstance(target, ast.Subscript):
            self.replace_part(target, whole(value))
        elif isinstance(target, ast.Name | ast.Attribute):
            name = ast.unparse(target)
            if whole(value) == NOTHING:
                value = Value(time=True) if _TIME.match(_last(target)) else Value(frozenset({name}))
            self.values[name] = value

    def replace_part(self, target: ast.Subscript, value: Value) -> None:
        """Change a part of a value, such as masked pieces: what enters the part, or chooses it, enters the whole."""
        name = ast.unparse(target.value)
        if (former := self.values.get(name)) is not None:
            entering = value | whole(self.value(target.slice))
            self.values[name] = replace(whole(former) | entering, data=whole(former).data)

    def value(self, node: ast.expr) -> _Values:
        """The value of an expression; losses within it are compared on the way."""
        values: _Values = NOTHING
        if isinstance(node, ast.Name | ast.Attribute):
            variable = self.values.get(ast.unparse(node))
            values = (
                self.value(node.value) if variable is None and isinstance(node, ast.Attribute) else variable or NOTHING
            )
        elif isinstance(node, ast.Tuple | ast.List):
            values = tuple(whole(self.value(part)) for part in node.elts)
        elif isinstance(node, ast.Subscript):
            values = self.subscript(node)
        elif isinstance(node, ast.BinOp):
            values = self.operation(node)
        elif isinstance(node, ast.Call):
            values = self.call(node)
        elif isinstance(node, ast.Compare):
            sides = whole(tuple(whole(self.value(part)) for part in (node.left, *node.comparators)))
            values = Value(time=True) if sides.time else NOTHING  # a draw that chooses
        else:
            parts = (part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
            values = whole(tuple(whole(self.value(part)) for part in parts))
        return values

    def subscript(self, node: ast.Subscript) -> _Values:
        value = self.value(node.value)
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(value, tuple):
            return value[key] if isinstance(key, int) and -len(value) <= key < len(value) else whole(value)
        if key is not None and value.data and not value.networks:
            return replace(value, data=frozenset(f"{name}[{key!r}]" for name in value.data))
        return value

    def operation(self, node: ast.BinOp) -> Value:
        left, right = whole(self.value(node.left)), whole(self.value(node.right))
        if isinstance(node.op, ast.Pow):
            self.distance(node.left)
        both = left | right
        return replace(both, difference=True) if isinstance(node.op, ast.Sub) and NOTHING not in (left, right) else both

    def call(self, node: ast.Call) -> _Values:
        """The value of a call. A loss compares its arguments first."""
        name, arguments = _function_name(node), [whole(self.value(part)) for part in node.args]
        keywords = {part.arg: whole(self.value(part.value)) for part in node.keywords if part.arg}
        total = whole((*arguments, *keywords.values()))
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        receiver = whole(self.value(owner[0])) if owner else NOTHING
        pair = [*arguments, *(keywords[name] for name in _NAMES if name in keywords)][:2]
        if len(pair) == 2:
            loss = _function_name(node.func) if isinstance(node.func, ast.Call) else self.checkout.losses.get(name)
            self.compare(loss or name, *pair)
        for part in [*node.args[:1], *owner] if name in _DISTANCES else []:
            self.distance(part)
        function = self.checkout.function(name) if self.depth < DEPTH else None
        root = getattr(_root(node.func), "id", "")
        values: _Values = total
        if _GAUSSIAN.search(name):
            values = Value(noise=True)
        elif _UNIFORM.match(name):
            values = Value(time=True)
        elif name in _EMPTY or _CONSTRUCTED.match(name):
            values = NOTHING
        elif function is not None:
            values = self.applied(function, total if root == "self" else receiver | total)
        elif _LAYER.search(name):
            values = self.network(node, total)
        elif receiver != NOTHING and (total == NOTHING or name in METHODS):
            values = receiver | total if name in _BINARY else receiver
        elif not self.plain(node, root):
            values = self.network(node, total)
        return values

    def plain(self, node: ast.Call, root: str) -> bool:
        """True if a call is of a library, a class or a function from elsewhere, and of no network."""
        if isinstance(node.func, ast.Name):
            return root in self.checkout.others or (root[:1].isupper() and len(root) > 2)
        return isinstance(node.func, ast.Call) or root in self.checkout.others

    def network(self, node: ast.Call, arguments: Value) -> Value:
        """The output of a network, if data or noise is among its arguments."""
        if not arguments.data and not arguments.noise:
            return arguments
        name = ast.unparse(node.func).removeprefix("self.")
        return replace(arguments, networks=arguments.networks | {name}, difference=False)

    def applied(self, function: ast.FunctionDef | ast.AsyncFunctionDef, arguments: Value) -> _Values:
        """The value of a function of the checkout: its own noise and networks, with the data of its arguments."""
        if id(function) not in self.checkout.summaries:
            self.checkout.summaries[id(function)] = Value(frozenset({function.name}))  # for one that calls itself
            inner = _Reader(self.checkout, self.depth + 1)
            inner.read(function)
            self.checkout.summaries[id(function)] = inner.returned[-1] if inner.returned else arguments
        values = self.checkout.summaries[id(function)]

        def outer(value: Value) -> Value:
            if not value.data:
                return value
            if arguments == NOTHING and not value.noise:
                return NOTHING
            return replace(
                value,
                data=arguments.data,
                noise=value.noise or arguments.noise,
                time=value.time or arguments.time,
                networks=value.networks | arguments.networks,
            )

        return tuple(map(outer, values)) if isinstance(values, tuple) else outer(values)

    def distance(self, node: ast.expr) -> None:
        """A squared or absolute difference is compared."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Add):
            self.compare("mse", whole(self.value(node.left)), whole(self.value(node.right)))

    def compare(self, loss: str, left: Value, right: Value) -> None:
        """The claim that a loss makes by what it compares."""
        for output, target in ((left, right), (right, left)):
            if not output.networks or target.networks:
                continue
            if _CLASSES.search(loss) or loss in ("CrossEntropyLoss", "NLLLoss"):
                if target.data & output.data and not target.noise and (output.time or not output.noise):
                    self.finds.append((self.line, Claim.MASKED_BOUND if output.time else Claim.NEXT_PIECE))
                elif output.data and any(map(_LABELS.search, target.data)):
                    self.finds.append((self.line, Claim.LABELS))
            elif _MIXTURE.search(loss) and target.data & output.data and not output.noise and not output.time:
                self.finds.append((self.line, Claim.NEXT_PIECE))
            elif _ERROR.match(loss) and (claim := _regressed(output, target)):
                self.finds.append((self.line, claim))
            return


def _regressed(output: Value, target: Value) -> Claim | None:
    """The objective of a network that saw data with noise, or at a time between, by what its output is held against."""
    if output.noise and output.data:
        if target.noise and not target.data:
            return Claim.DENOISE
        if target.noise and target.difference:
            return Claim.VELOCITY
        if target.data & output.data and output.time:
            return Claim.DENOISE
    between = output.time and len(output.data & target.data) >= 2
    return Claim.VELOCITY if between and target.difference and not target.noise else None


def compared(trees: Mapping[str, ast.Module], files: Collection[str]) -> list[Evidence]:
    """Evidence of what each loss compares, at the line where it does.

    Args:
        trees: the syntax tree of each file of a checkout, by name.
        files: the names of the files whose losses are read.
    """
    checkout = _Checkout.of(trees)
    rows: dict[tuple[str, Claim], Evidence] = {}
    for name in files:
        lines, tree = computing(trees[name]), trees[name]
        if not lines:
            continue
        script = _Reader(checkout)
        script.read(tree)
        readers = [script]
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                readers.append(_Reader(checkout, values=dict(script.values)))
                readers[-1].read(scope)
        for line, claim in (find for reader in readers for find in reader.finds):
            if loss := shortened(lines.get(line, "")):
                place, rule = f"{name}:{line}", f"{COMPARED}{claim}"
                weight = OF_LABELS if claim is Claim.LABELS else WEIGHT
                rows[place, claim] = Evidence(loss, place, claim, weight, Reader.CODE, Form.REASON, rule)
    return list(rows.values())


def _function_name(node: ast.Call) -> str:
    return _last(node.func)


def _last(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node
