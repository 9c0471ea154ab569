"""Loops that draw examples, by the values that they hand from one round to the next.

A value that is drawn from a network's output, and that the network is given in the next round, is a piece of a
sequence. One that a network changes at a time is a noised example.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field

from fourfold_atlas.evidence import Claim
from fourfold_atlas.flow import METHODS
from fourfold_atlas.rules import finder, reason

__all__ = ["drawing", "handed_on"]

#: characters of a loop that is followed
LONGEST = 20_000
#: calls that draw a piece of scores, and networks' calls that yield one at once
_DRAW = re.compile(r"(?i)^(?:\w*multinomial|arg_?max|categorical|gumbel\w*|_?sample\w*|\w*_sampler?|\w*choices?)$")
_PIECE = re.compile(r"(?i)(?:decod|generat)\w*_(?:step|one|next)|(?:one|next)_(?:token|word|frame|code|symbol)")
#: what is a time by its name, a variable or a keyword
_TIME = re.compile(r"^(?:t|ts|time|times|cur_t|t_\w+|timesteps?\w*|sigmas?\w*|noise_levels?\w*|log_snr\w*)$")
#: loops that train, those of an agent in its world, and chains between layers of an energy
_OTHER = re.compile(
    r"\.backward\(|optimi[sz]er|zero_grad|_loader\b|dataloader|\bloss\b|\benv\w*\.|reward|episode|\bactor\b|polic(?:y|ies)"
    r"|gibbs|_given_[hv]\b|visible|langevin|mcmc"
)
_CHOSEN = re.compile(r"(?i)topk\(|sort\(|confiden|gumbel|schedul|(?<![a-z])ratio|gamma|\bcos\(")
#: what distributions of latents are called
_LATENT = re.compile(r"(?i)normal|gauss|prior|poster|latent|\b[pq]_?z?\b")
#: what a library is told that draws pieces by a loop of its own
_SETTINGS = frozenset({"max_new_tokens", "do_sample", "top_k", "top_p", "num_beams"})
_GROWS = frozenset({"cat", "concat", "concatenate", "hstack"})
_LIBRARY_TEXT = "torch np numpy F tf jnp jax math random os time lax nn dist re logging tqdm"
_LIBRARIES = frozenset(_LIBRARY_TEXT.split())
_FUNCTION_TEXT = "len range int float str print list tuple dict set zip enumerate isinstance min max abs"
_FUNCTIONS = frozenset(_FUNCTION_TEXT.split())
_HEAD = finder("code", "times")
_DRAWS = reason("code", "draws")


@dataclass
class _Flow:
    """The values of a loop: by the name of each what it is computed from, calls among them."""

    sources: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    draws: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    timed: set[str] = field(default_factory=set)
    joins: list[set[str]] = field(default_factory=list)
    replaces: bool = False

    def read(self, body: list[ast.stmt]) -> None:
        """Take in statements, those within blocks too, of scopes within it none."""
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            value = getattr(node, "value", None)
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and value is not None:
                inputs = self.inputs(value)
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self.assign(target, inputs, value)
            elif isinstance(node, ast.Expr) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
                inputs = self.inputs(value)
                if _root(value.func.value) not in _LIBRARIES:
                    self.sources[_name(value.func.value)] |= inputs  # an object is changed in place
            elif isinstance(node, ast.For):
                self.sources[_name(node.target)] |= self.inputs(node.iter)
            for part in ("body", "orelse", "finalbody"):
                self.read(getattr(node, part, []))

    def assign(self, target: ast.expr, inputs: set[str], value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.assign(part, inputs, value)
            return
        name = _name(target)
        self.sources[name] |= inputs
        if isinstance(target, ast.Subscript):
            self.replaces |= "mask" in ast.unparse(target.slice).lower()
        if isinstance(value, ast.Subscript):
            self.sources[_name(value)].add(name)  # a view: what it is changed by changes the whole

    def inputs(self, value: ast.expr) -> set[str]:
        """The names that an expression is computed from, and its calls, whose own inputs are noted."""
        if isinstance(value, ast.Name | ast.Attribute):
            return {_name(value)}
        if not isinstance(value, ast.Call):
            parts = (part for part in ast.iter_child_nodes(value) if isinstance(part, ast.expr | ast.comprehension))
            rows = (part.iter if isinstance(part, ast.comprehension) else part for part in parts)
            return set().union(*(self.inputs(part) for part in rows))
        name = getattr(value.func, "attr", getattr(value.func, "id", ""))
        arguments = [*value.args, *(row.value for row in value.keywords)]
        of_arguments = set().union(*(self.inputs(part) for part in arguments))
        owner = value.func.value if isinstance(value.func, ast.Attribute) else None
        inputs = of_arguments | (self.inputs(owner) if owner is not None else set())
        root = _root(value.func)
        if name in _GROWS and not _repeats(arguments):
            self.joins.append(inputs)
        self.replaces |= name == "where" and bool(arguments) and "mask" in ast.unparse(arguments[0]).lower()
        call = f"call {value.lineno}:{value.col_offset}:{value.end_col_offset}"
        weighed = any(row.arg in ("p", "weights") for row in value.keywords) or "choice" not in name
        if _DRAW.match(name) and weighed and not _LATENT.search(ast.unparse(value.func)):
            self.draws.add(call)
        elif root not in _LIBRARIES | _FUNCTIONS and name not in METHODS and of_arguments:
            self.networks.add(call)
            self.draws |= {call} if _PIECE.search(name) else set()
        else:
            return inputs
        if any(map(_is_time, value.args)) or any(_TIME.match(row.arg or "") for row in value.keywords):
            self.timed.add(call)
        self.sources[call] |= inputs
        return {call}

    def origins(self, name: str) -> set[str]:
        """All that a value is computed from, in this round and in those before."""
        seen: set[str] = set()
        front = [name]
        while front:
            following = self.sources.get(front.pop(), set()) - seen
            seen |= following
            front += following
        return seen


def handed_on(loop: ast.For | ast.AsyncFor | ast.While) -> Claim | None:
    """The work of a loop by the value that it hands on: a piece of a sequence, masks to fill, or a step in time."""
    text = ast.unparse(loop)
    if len(text) > LONGEST or _OTHER.search(text):
        return None
    flow = _Flow()
    flow.read(loop.body)
    origins = {call: flow.origins(call) for call in flow.draws | flow.networks}
    for call in flow.draws:
        if any(call in origins[network] for network in origins[call] & flow.networks):
            grows = any(call in flow.origins(name) | {name} for inputs in flow.joins for name in inputs)
            fills = flow.replaces and not grows and bool(_CHOSEN.search(text))
            return Claim.FILL_MASKS if fills else Claim.ONE_BY_ONE
    head = text.partition("\n")[0]
    steps = _HEAD.search(head) and any(call in origins[call] for call in flow.timed)
    return Claim.ITERATE if steps else None


def _repeats(arguments: list[ast.expr]) -> bool:
    """True if one value is joined with itself, as for guidance."""
    parts = arguments[0].elts if arguments and isinstance(arguments[0], ast.List | ast.Tuple) else []
    return len(parts) > 1 and len({ast.unparse(part).replace(".clone()", "") for part in parts}) == 1


def _is_time(value: ast.expr) -> bool:
    """True for a time, one of several, and one in another form, but not for a place in a sequence."""
    if isinstance(value, ast.Call):
        owner = [value.func.value] if isinstance(value.func, ast.Attribute) else []
        return any(map(_is_time, [*owner, *value.args]))
    if isinstance(value, ast.Subscript):
        return _is_time(value.value)
    return isinstance(value, ast.Name | ast.Attribute) and bool(_TIME.match(_name(value).rpartition(".")[2]))


def _name(value: ast.expr) -> str:
    """The name of a variable or of what an object holds; of a part of it that of the whole."""
    while isinstance(value, ast.Subscript | ast.Call | ast.Starred):
        value = value.func if isinstance(value, ast.Call) else value.value
    return ast.unparse(value)


def _root(value: ast.expr) -> str:
    while isinstance(value, ast.Attribute | ast.Call | ast.Subscript):
        value = value.func if isinstance(value, ast.Call) else value.value
    return getattr(value, "id", "")


def drawing(tree: ast.Module) -> dict[int, bool]:
    """The lines of functions whose name or loop says that they draw examples, and whether a loop repeats each."""
    lines: dict[int, bool] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            named = bool(_DRAWS.search(scope.name))
            loops = [node for node in ast.walk(scope) if isinstance(node, ast.For | ast.While)]
            lines |= dict.fromkeys(_numbers(scope), False) if named else {}
            for loop in loops:
                if named or handed_on(loop):
                    lines |= dict.fromkeys(_numbers(loop), True)
            calls = [part for part in ast.walk(scope) if isinstance(part, ast.Call) and _generates(part)]
            lines |= {number: True for call in calls for number in _numbers(call)}
    return lines


def _generates(call: ast.Call) -> bool:
    """True for a language model's own loop, which a library runs."""
    return getattr(call.func, "attr", "") == "generate" and any(row.arg in _SETTINGS for row in call.keywords)


def _numbers(node: ast.stmt | ast.Call) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
