"""The rules: patterns with the claims that they support, read from the TOML files in ``rules/``.

Every rule has an id, ``words/next_piece.left-to-right`` or ``code/bound.log-var``, which stays while its pattern is
mended: the learned weights are kept under it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from fourfold_atlas.evidence import CLAIMS, Claim

__all__ = ["COMPARED", "LOOP", "OF", "SHIFTED", "PartRule", "PromiseRule", "Rule", "cues", "file_rules", "finder"]
__all__ += [
    "hints",
    "mechanism_part",
    "naming",
    "naming_words",
    "not_its_own",
    "part_rules",
    "promise_rules",
    "reason",
    "rule_ids",
    "statement_rules",
    "word_rules",
]


#: ids of finds of the code reader: in a whole loop, before the claim, and in statements that belong together
LOOP, SHIFTED, COMPARED = "code/loop.", "code/next_piece.shifted", "code/compared."
#: before the cells whose systems alone may have a part, in the place of its rule's id
OF = "of:"


@dataclass(frozen=True)
class Rule:
    """A pattern, and the claims that it supports with their weights in votes."""

    id: str
    pattern: re.Pattern[str]
    claims: tuple[tuple[Claim, float], ...]

    @property
    def claim(self) -> Claim:
        """Its only claim, or its first."""
        return self.claims[0][0]

    @property
    def weight(self) -> float:
        """The weight of that claim."""
        return self.claims[0][1]


@lru_cache(maxsize=8)
def _document(name: str) -> Mapping[str, Any]:
    text = resources.files("fourfold_atlas").joinpath("rules", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _pattern(table: Mapping[str, Any], pattern: str, flags: int = 0) -> re.Pattern[str]:
    for name, macro in table.get("macros", {}).items():
        pattern = pattern.replace(f"<{name}>", macro)
    return re.compile(pattern, flags)


def _rules(name: str, flags: int) -> Iterator[Rule]:
    table = _document(name)
    for claim, rows in table["rules"].items():
        for id_, (weight, pattern) in rows.items():
            yield Rule(f"{name}/{claim}.{id_}", _pattern(table, pattern, flags), ((CLAIMS[claim], float(weight)),))


@lru_cache(maxsize=1)
def word_rules() -> tuple[Rule, ...]:
    """The rules that find statements of a mechanism in prose."""
    return tuple(_rules("words", re.IGNORECASE))


@lru_cache(maxsize=1)
def hints() -> frozenset[str]:
    """The ids of rules that weigh much and state nothing: their finds are no reasons."""
    of_kinds = (f"{kind}/{name}" for kind in ("words", "code") for name in _document(kind)["hints"])
    return frozenset([*of_kinds, *_document("reasons")["hints"]])


@lru_cache(maxsize=1)
def statement_rules() -> tuple[Rule, ...]:
    """The rules that read statements of Python."""
    return tuple(_rules("code", 0))


@dataclass(frozen=True)
class PartRule:
    """A part that systems have beside their generative step: its two answers, and how texts and code name it.

    Attributes:
        claim: the claim that there is such a part.
        stage: where it stands: ``condition``, ``before``, ``within``, ``after``, ``choice``, ``training``.
        objective: its first answer, where it has no paradigm of its own.
        sampling: its second answer.
        mechanism: its paradigm where the clause names none, or the empty string.
        mixes: whether the clause may name its paradigm.
        name: words that name it, and say nothing of the generative step.
        told: other prose that tells of it.
        told_of: prose that tells of it in systems of some cells alone, and these cells.
        code: the names of its classes and files.
        catalogue: words of the catalogue's entries.
        failure: the name, the meaning and the measurement of what goes wrong with it, if anything.
    """

    claim: Claim
    stage: str
    objective: str
    sampling: str
    mechanism: str
    mixes: bool
    name: re.Pattern[str] | None
    told: re.Pattern[str] | None
    told_of: tuple[tuple[re.Pattern[str], frozenset[str]], ...]
    code: re.Pattern[str] | None
    catalogue: re.Pattern[str]
    failure: tuple[str, str, str] | None


@lru_cache(maxsize=1)
def part_rules() -> Mapping[Claim, PartRule]:
    """Every part, in the order in which a chain names them."""
    return {CLAIMS[name]: _part_rule(CLAIMS[name], row) for name, row in _document("parts")["part"].items()}


def _part_rule(claim: Claim, row: Mapping[str, Any]) -> PartRule:
    def prose(key: str) -> re.Pattern[str] | None:
        return re.compile(row[key], re.IGNORECASE) if key in row else None

    return PartRule(
        claim=claim,
        stage=row["stage"],
        objective=row["objective"],
        sampling=row["sampling"],
        mechanism=row.get("mechanism", ""),
        mixes=row.get("mixes", False),
        name=prose("name"),
        told=prose("told"),
        told_of=tuple(_told_of(claim)),
        code=re.compile(row["code"]) if "code" in row else None,
        catalogue=re.compile(row["catalogue"]),
        failure=_three(row.get("failure")),
    )


def _told_of(claim: Claim) -> Iterator[tuple[re.Pattern[str], frozenset[str]]]:
    table = _document("hybrids")
    for row in table["told"]:
        if row["part"] == claim.value:
            yield _pattern(table, row["words"], re.IGNORECASE), frozenset(row["of"])


def _three(texts: list[str] | None) -> tuple[str, str, str] | None:
    return (texts[0], texts[1], texts[2]) if texts else None


@dataclass(frozen=True)
class PromiseRule:
    """What a text says of its own system against the textbook: the words of it, and the failure modes it denies."""

    words: re.Pattern[str]
    denies: frozenset[str]


@lru_cache(maxsize=1)
def promise_rules() -> Mapping[Claim, PromiseRule]:
    """The promises that texts make, by their claims."""
    rows = _document("promises")["promise"]
    return {
        CLAIMS[name]: PromiseRule(re.compile(row["words"], re.I), frozenset(row["denies"]))
        for name, row in rows.items()
    }


@lru_cache(maxsize=1)
def not_its_own() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Words before, and words behind a promise that make it one of others, a question, or a denial."""
    table = _document("promises")
    return re.compile(table["not_its_own"]), re.compile(table["theirs"])


def mechanism_part(cell: str, other: str) -> Claim | None:
    """The part that a stated mechanism of another cell is in a system of this one, if any."""
    name = _document("parts")["mechanism"].get(cell, {}).get(other)
    return CLAIMS[name] if name else None


@lru_cache(maxsize=16)
def file_rules(section: str) -> tuple[Rule, ...]:
    """The rules of a section of ``files.toml`` (``schedulers``, ``keys``, ...): by class names, keys, tensors."""
    table = _document("files")
    return tuple(
        Rule(
            f"files/{section}.{id_}",
            _pattern(table, pattern, re.IGNORECASE if section in ("tags", "libraries", "declared") else 0),
            tuple((CLAIMS[claim], float(weight)) for claim, weight in claims.items()),
        )
        for id_, (pattern, claims) in table[section].items()
    )


@lru_cache(maxsize=8)
def cues(name: str) -> re.Pattern[str]:
    """A pattern that sets words aside: ``foil``, ``homonyms``, ..."""
    table = _document("words")
    return _pattern(table, table["cues"][name], re.MULTILINE if name == "aside" else re.IGNORECASE)


def finder(module: str, name: str) -> re.Pattern[str]:
    """A pattern by which a reader finds its way, from ``finders.toml``."""
    return re.compile(_document("finders")[module][name])


def naming(name: str) -> re.Pattern[str]:
    """A pattern by which names and titles are understood, from ``names.toml``."""
    return re.compile(_document("names")[name])


@lru_cache(maxsize=4)
def naming_words(table: str) -> Mapping[str, frozenset[str]]:
    """Words within names and their meanings, from a table of ``names.toml``: ``short``, ``mechanisms``, ``fields``."""
    return {word: frozenset(values) for word, values in _document("names")[table].items()}


def reason(module: str, name: str) -> re.Pattern[str]:
    """A pattern that chooses what is quoted as a reason, from ``reasons.toml``."""
    return re.compile(_document("reasons")[module][name])


def rule_ids() -> list[str]:
    """The id of every rule whose votes are weighed by learned weights."""
    loops = [f"{LOOP}{claim}" for claim in (Claim.CHAIN, Claim.ONE_BY_ONE, Claim.ITERATE)]
    compared = [f"{COMPARED}{claim}" for claim in (Claim.GAME, Claim.REBUILD, Claim.REGRESSION)]
    settings = [rule for section in ("declared", "keys", "tags") for rule in file_rules(section)]
    return [*(rule.id for rule in (*word_rules(), *statement_rules(), *settings)), *loops, *compared, SHIFTED]
