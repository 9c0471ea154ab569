"""The types of the vocabulary: paradigms, principles, kinds, cost laws, failure modes, facts and cards."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fourfold.vocabulary.rules import Rule

__all__ = [
    "AUTO",
    "COSTS",
    "ONE_TOKENISATION",
    "Card",
    "Cost",
    "Facts",
    "FailureMode",
    "Kind",
    "Paper",
    "Paradigm",
    "Principle",
    "Recipe",
    "TooManyColumns",
    "parse_size",
]

AUTO = "auto"
"""The size that suits the machine, the data and the budget."""
ONE_TOKENISATION = "one tokenisation of the text"
"""The reason why the exact mass of a text's tokens bounds that of the text from below: other tokens spell it too."""
_SIZE = re.compile(r"(xs|s|m|l|xl)(?:/(2|4|8))?")


class TooManyColumns(TypeError):  # noqa: N818 (what is wrong)
    """A table of a kind that a recipe models, but of more columns than it can."""


def parse_size(text: str) -> tuple[str, int]:
    """The preset that a size names, and the divisor of its widths: ``s/2`` is ``s`` at half the width.

    Raises:
        ValueError: for another text.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"size must be xs, s, m, l, xl, or a narrower one such as s/2, s/4 or m/2, got {text!r}")
    return match[1], int(match[2] or 1)


class Paradigm(StrEnum):
    """The four ways of learning to sample, and the two neighbours on the map."""

    AUTOREGRESSIVE = "autoregressive"
    LATENT_VARIABLE = "latent-variable"
    ADVERSARIAL = "adversarial"
    DIFFUSION = "diffusion"
    FLOW = "flow"
    ENERGY = "energy"


class Principle(StrEnum):
    """The principle of a training objective: the answer to the first of the two questions, in a word.

    Score matching fits the gradient of the log-density. ``DENOISING`` is its most common form, a regression of the
    clean example or the noise. ``SCORE_MATCHING`` means the forms without a target, by partial integration (explicit,
    sliced).
    """

    LIKELIHOOD = "likelihood"
    BOUND = "bound"
    ADVERSARIAL = "adversarial"
    DENOISING = "denoising"
    SCORE_MATCHING = "score matching"
    CONTRASTIVE = "contrastive"


class Kind(StrEnum):
    """The kind of a number called "log-likelihood". Different kinds are never ranked against each other without a mark.

    ``ESTIMATED_BOUND`` estimates a lower bound: a solver or probes stand behind a codec that only bounds the likelihood
    of raw examples (dequantised integers, a learned code), so that it has the error of an estimate and the gap of a
    bound.
    """

    EXACT = "exact"
    LOWER_BOUND = "lower_bound"
    ESTIMATE = "estimate"
    ESTIMATED_BOUND = "estimated_bound"
    UNNORMALISED = "unnormalised"
    NONE = "none"

    @property
    def bounded(self) -> Kind:
        """The kind for raw examples, if this is the kind for codes that only bound their likelihood."""
        return {Kind.EXACT: Kind.LOWER_BOUND, Kind.ESTIMATE: Kind.ESTIMATED_BOUND}.get(self, self)

    @property
    def words(self) -> str:
        """The kind in words: ``lower bound``."""
        return self.value.replace("_", " ")


class Cost(StrEnum):
    """The law by which the network evaluations of one sample grow."""

    CONSTANT = "constant"
    LENGTH = "length"
    STEPS = "steps"
    CHAIN = "chain"


@dataclass(frozen=True)
class Paper:
    """A paper: authors, year, title, address."""

    authors: str
    year: int
    title: str
    link: str


@dataclass(frozen=True)
class FailureMode:
    """A way a paradigm goes wrong, and the measurement that reveals it.

    Attributes:
        name: a noun.
        meaning: what goes wrong.
        measurement: what reveals it, in words.
        monitor: the name under which training logs that measurement (the last part of the key in ``log.jsonl``). Empty
            where only finished samples reveal it (a comparison then measures it).
        rule: the threshold of the monitor, if one is known.
        scores: names of the scores of samples that reveal it.
        sweep: whether quality at other numbers of sampling steps reveals it.
    """

    name: str
    meaning: str
    measurement: str
    monitor: str = ""
    rule: Rule | None = field(default=None, repr=False)
    scores: tuple[str, ...] = field(default=(), repr=False)
    sweep: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Facts:
    """Facts of a paradigm, or of one recipe of it: the two answers, and their consequences.

    The clauses are plain English without a full stop. ``strengths`` and ``weaknesses`` are what :attr:`gives` and
    :attr:`drawbacks` say beyond what the kind of likelihood, the cost and the inherited ``parts`` imply.
    """

    represents: str
    objective: str
    objective_formula: str
    sampling: str
    sampling_formula: str
    likelihood: Kind
    likelihood_note: str
    cost: Cost
    cost_note: str
    strengths: str
    weaknesses: str
    failure_modes: tuple[FailureMode, ...]
    references: tuple[Paper, ...]
    parts: tuple[str, ...] = ()

    @property
    def gives(self) -> str:
        """The advantages, separated by commas."""
        return _listed(_LIKELIHOOD_GIVES.get(self.likelihood), _COST_GIVES.get(self.cost), self.strengths)

    @property
    def drawbacks(self) -> str:
        """The disadvantages, separated by commas."""
        inherited = [_PART_LIMITS.get(part, f"the errors of its {part}") for part in self.parts]
        return _listed(_LIKELIHOOD_LACKS.get(self.likelihood), _COST_LACKS.get(self.cost), self.weaknesses, *inherited)

    def record(self, paradigm: Paradigm) -> dict[str, Any]:
        """A JSON value. Failure modes, by name, and references are left to the paradigm, which it names."""
        texts = {name: getattr(self, name) for name in _TEXTS}
        words = {"likelihood": self.likelihood.value, "cost": self.cost.value, "parts": list(self.parts)}
        words["failure_modes"] = [mode.name for mode in self.failure_modes]
        return {"paradigm": paradigm.value, **texts, **words}

    def with_record(self, record: Mapping[str, Any]) -> Facts:
        """These facts of a paradigm with the value that :meth:`record` wrote of one of its models.

        Raises:
            KeyError, ValueError: for a record of another form.
        """
        texts: dict[str, Any] = {name: _printable(record[name]) for name in _TEXTS}
        kind, cost, parts = Kind(record["likelihood"]), Cost(record["cost"]), tuple(map(_printable, record["parts"]))
        modes = tuple(mode for mode in self.failure_modes if mode.name in record["failure_modes"])
        return replace(self, **texts, likelihood=kind, cost=cost, parts=parts, failure_modes=modes)


_TEXTS = (
    "represents", "objective", "objective_formula", "sampling", "sampling_formula", "likelihood_note", "cost_note",
    "strengths", "weaknesses",
)  # fmt: skip


def _printable(text: object) -> str:
    """A text of a file, without what could steer a terminal."""
    return "".join(sign for sign in str(text) if sign.isprintable())


def _listed(*clauses: str | None) -> str:
    """The clauses that are not empty, separated by commas."""
    return ", ".join(clause for clause in clauses if clause)


COSTS: Mapping[Cost, str] = {
    Cost.CONSTANT: "one network evaluation per sample",
    Cost.LENGTH: "one network evaluation per token of the example, so the cost grows with its length",
    Cost.STEPS: "one or two network evaluations per step; the number of steps is a setting, not the example's size",
    Cost.CHAIN: "one network evaluation per move of a Markov chain; how many moves are enough is not known beforehand",
}
"""How the network evaluations of one sample grow, in words."""

_LIKELIHOOD_GIVES = {
    Kind.EXACT: "an exact likelihood",
    Kind.LOWER_BOUND: "a lower bound on the likelihood",
    Kind.ESTIMATE: "an estimate of the likelihood",
    Kind.ESTIMATED_BOUND: "an estimate of a lower bound on the likelihood",
}
_LIKELIHOOD_LACKS = {
    Kind.LOWER_BOUND: "an unknown gap between the bound and the likelihood",
    Kind.ESTIMATED_BOUND: "an unknown gap between the bound and the likelihood",
    Kind.UNNORMALISED: "an unknown normaliser",
    Kind.NONE: "no likelihood",
}
_COST_GIVES = {Cost.CONSTANT: "a sample in one network evaluation"}
_COST_LACKS = {
    Cost.LENGTH: "slow sampling (one token after the other)",
    Cost.STEPS: "several network evaluations per sample",
    Cost.CHAIN: "slow Markov chains",
}
_PART_LIMITS = {
    "autoencoder": "samples no better than what its autoencoder can reconstruct",
    "tokenizer": "samples no better than what its tokenizer can reconstruct",
    "vocoder": "samples no better than what its vocoder can reconstruct",
}


@dataclass(frozen=True)
class Recipe:
    """A function by its address, which is imported when it is first called: ``(space, size) -> GenerativeModel``.

    A card can so name its recipes without loading the networks that they build.

    Attributes:
        address: ``"module:function"``.
        reason: why the data choose it by the name of its card, and the way to another one, as a line of ``fit``.
        leads: the classes of spaces in whose short trainings it leads, and from how many steps. A short race
            (``fit best``) has these alone.
    """

    address: str
    reason: str = ""
    leads: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __call__(self, *arguments: Any) -> Any:
        module, _, function = self.address.partition(":")
        return getattr(importlib.import_module(module), function)(*arguments)

    @classmethod
    def of(
        cls, module: str, *names: str, reasons: Mapping[str, str] | None = None, leads: Mapping[str, int] | None = None
    ) -> dict[str, Recipe]:
        """The functions of a module by the names of their recipes: ``mean-flow`` is the function ``mean_flow``.

        Args:
            module: address of the module.
            names: of the recipes.
            reasons: of some recipes, by name.
            leads: of all of them.
        """
        reasons, leads = reasons or {}, leads or {}
        return {name: cls(f"{module}:{name.replace('-', '_')}", reasons.get(name, ""), leads) for name in names}


@dataclass(frozen=True, kw_only=True)
class Card:
    """The declaration of a paradigm: found by the walk, it gets checks, a name, a page and a row in reports.

    The cards of fourfold stand in :mod:`fourfold.cards`, those of third parties in the modules that they register.

    What a recipe trains, how it samples and what its likelihood is are said by the parts of its models. ``strengths``,
    ``weaknesses`` and ``references`` replace those of the paradigm where they are given.

    Attributes:
        name: of the paradigm on the command line.
        paradigm: where it stands on the map.
        recipes: by name, functions ``(space, size) -> GenerativeModel`` or their addresses (:class:`Recipe`). A recipe
            raises ``TypeError`` for a space that it does not model. The name of the card alone means its first recipe
            that models the space.
        default: a function ``space -> name`` of the recipe that comes first in a space, where that is not always the
            same one.
        summary: one sentence.
        strengths, weaknesses: clauses in plain English, separated by commas.
        references: papers.
        failure_modes: its own, beside those of the paradigm, each with its monitor and threshold.
        teacher: the name of the card whose models teach its models. A report compares the two.
    """

    name: str
    paradigm: Paradigm
    recipes: Mapping[str, Callable[[Any, str], Any]] = field(repr=False)
    default: Callable[[Any], str] | None = None
    summary: str = ""
    strengths: str = ""
    weaknesses: str = ""
    references: tuple[Paper, ...] = ()
    failure_modes: tuple[FailureMode, ...] = ()
    teacher: str = ""

    def order(self, space: Any) -> list[str]:
        """The names of the recipes. The first one that models the space is what the card's name alone means."""
        first = None if self.default is None else self.default(space)
        return sorted(self.recipes, key=lambda name: name != first)

    @property
    def others(self) -> list[str]:
        """The names of the recipes that the card's name alone never means, or not in every space."""
        return list(self.recipes)[0 if self.default else 1 :]

    def facts(self, facts: Facts) -> Facts:
        """The facts of one of its models, with what this card says in place of its paradigm."""
        return replace(
            facts,
            strengths=self.strengths or facts.strengths,
            weaknesses=self.weaknesses or facts.weaknesses,
            references=self.references or facts.references,
            failure_modes=(*facts.failure_modes, *self.failure_modes),
        )
