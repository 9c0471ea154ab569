"""The words of the field, without torch: paradigms, principles, kinds of likelihood, cost laws, failure modes.

:data:`FACTS` has the facts that are common to a paradigm. The parts of a recipe's models state their own: see
:attr:`fourfold.core.GenerativeModel.facts`. This module imports nothing heavy, so the atlas and the command line answer
without loading torch.
"""

from __future__ import annotations

from fourfold.vocabulary.facts import FACTS, recorded_facts
from fourfold.vocabulary.rules import Active, Below, Judged, NearOne, Rule, Settled
from fourfold.vocabulary.terms import (
    AUTO,
    COSTS,
    ONE_TOKENISATION,
    Card,
    Cost,
    Facts,
    FailureMode,
    Kind,
    Paper,
    Paradigm,
    Principle,
    Recipe,
    TooManyColumns,
    parse_size,
)
from fourfold.vocabulary.variants import VARIANTS, Variant

__all__ = [
    "AUTO",
    "COSTS",
    "FACTS",
    "ONE_TOKENISATION",
    "VARIANTS",
    "Active",
    "Below",
    "Card",
    "Cost",
    "Facts",
    "FailureMode",
    "Judged",
    "Kind",
    "NearOne",
    "Paper",
    "Paradigm",
    "Principle",
    "Recipe",
    "Rule",
    "Settled",
    "TooManyColumns",
    "Variant",
    "parse_size",
    "recorded_facts",
]
