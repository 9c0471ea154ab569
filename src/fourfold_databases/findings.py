"""The verdict on a synthetic database in plain sentences, for readers who answer for privacy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import final

from fourfold.metrics import Measurement
from fourfold.output.printable import plural
from fourfold.tournament.ranking import apart_from_floor
from fourfold.tournament.words import listed
from fourfold_databases.judging import DatabaseJudgement
from fourfold_databases.schema import Schema

__all__ = ["ATTACK", "COPIES", "LIKENESS", "NEARNESS", "Finding", "conclusion", "findings", "score_of", "screen"]

COPIES, NEARNESS, ATTACK, LIKENESS = "copies", "closer_to_training", "membership", "two_sample_auc"
RULES = "broken_rules"
"""The scores that the verdict reads."""

FEW = 3
"""Columns whose values are named, at most."""
SLACK = 0.005
"""The share of rows by which a rule may hold less often than in the real database."""


@final
@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict.

    Attributes:
        subject: the question that it answers.
        text: the sentence.
        bad: whether it speaks against the database.
        private: whether it is about privacy.
    """

    subject: str
    text: str
    bad: bool
    private: bool = False


def score_of(judgement: DatabaseJudgement, view: str, name: str) -> Measurement | None:
    """A score of a view. ``None`` where it was not measured."""
    scores = judgement.views[view].scores if view in judgement.views else ()
    present = (score for score in scores if not math.isnan(score.value))
    return next((score for score in present if score.name.partition("[")[0] == name), None)


def screen(judgement: DatabaseJudgement, schema: Schema) -> str:
    """The verdict and the scores of each view, in 80 columns. A sentence that speaks against it begins with ``!``."""
    sentences = [
        fill(item.text, 80, initial_indent="! " if item.bad else "- ", subsequent_indent="  ")
        for item in findings(judgement, schema)
    ]
    return "\n".join([fill(conclusion(judgement, schema), 80), *sentences, "", judgement.table])


def conclusion(judgement: DatabaseJudgement, schema: Schema) -> str:
    """The first sentence of the report."""
    bad = [item for item in findings(judgement, schema) if item.bad]
    private = [item.subject for item in bad if item.private]
    if private:
        return f"Do not share this database before you have looked at its {listed(private)}."
    if bad:
        subjects = listed([item.subject for item in bad])
        return f"No sign was found that real rows were copied. Its {subjects} differ from the real database."
    return "No sign was found that real rows were copied, and the database looks like the real one."


def findings(judgement: DatabaseJudgement, schema: Schema) -> list[Finding]:
    """The sentences of the verdict: keys, three on privacy, and two on likeness."""
    tables = [table for table in schema.keys if table in judgement.views and table not in schema.real]
    links = [view for view in judgement.views if view not in schema.keys]
    return [
        _keys(judgement),
        *_kinds(judgement),
        *_rules(judgement),
        _privacy(
            "exact copies",
            {table: score_of(judgement, table, COPIES) for table in tables},
            "more rows are exact copies of training rows than of held-out real rows",
            "No table holds more exact copies of training rows than held-out real rows do, which repeat by chance",
            lambda score: f"{score.value:.1%}, held-out rows {score.floor:.1%}",
            apart_from_floor,
        ),
        _privacy(
            "nearness to training rows",
            {table: score_of(judgement, table, NEARNESS) for table in tables},
            "rows are nearer to training rows than chance has it",
            "Rows are as near to training rows as to held-out ones",
            lambda score: f"{score.value:.1%} are nearer to training rows, new real rows {score.floor:.1%}",
            apart_from_floor,
        ),
        _privacy(
            "membership attack",
            {table: score_of(judgement, table, ATTACK) for table in tables},
            "an attack tells training rows from others",
            "An attack that guesses the training rows is not shown to beat chance",
            lambda score: f"AUC {score.value:.2f}, where a guess has 0.50",
            apart_from_floor,
        ),
        *_repeats(judgement, schema),
        *_references(schema),
        _likeness("tables", "rows", judgement, tables),
        _likeness("links", "linked rows", judgement, links),
    ]


def _keys(judgement: DatabaseJudgement) -> Finding:
    broken = [f"{check.name} in {plural(check.broken, 'row')}" for check in judgement.checks if check.broken]
    if broken:
        return Finding("keys", f"Some rows break a key or a link: {listed(broken)}.", True)
    return Finding("keys", "Every key differs, and every link leads to a row.", False)


def _kinds(judgement: DatabaseJudgement) -> list[Finding]:
    """A sentence on values that a column of the real database does not have, where there are some."""
    more = len(judgement.wrong) - FEW
    lines = [*judgement.wrong[:FEW], *([f"and values of {plural(more, 'more column')}"] if more > 0 else [])]
    text = f"Some values do not belong in their column: {'; '.join(lines)}."
    return [Finding("values", text, True)] if judgement.wrong else []


def _rules(judgement: DatabaseJudgement) -> list[Finding]:
    """A sentence on rules between tables, and one on rules within rows, where the real database has some."""
    broken = [rule for rule in judgement.rules if not rule.synthetic >= rule.real - SLACK]
    items = []
    if broken:
        items.append(Finding("rules", f"Rows break rules between tables. {'; '.join(map(str, broken))}.", True))
    elif judgement.rules:
        count = plural(len(judgement.rules), "rule")
        items.append(Finding("rules", f"Rows keep the {count} between tables.", False))
    scores = {view: score_of(judgement, view, RULES) for view in judgement.views}
    inside = {view: score for view, score in scores.items() if score is not None}
    failing = [f"{view} ({score.value:.1%})" for view, score in inside.items() if apart_from_floor(score)]
    if failing:
        text = f"Rows of {listed(failing)} break rules that real rows keep."
        items.append(Finding("rules within rows", text, True))
    elif inside:
        items.append(Finding("rules within rows", "Rows keep the rules within rows as real rows do.", False))
    return items


def _privacy(
    subject: str,
    scores: Mapping[str, Measurement | None],
    bad: str,
    good: str,
    words: Callable[[Measurement], str],
    fails: Callable[[Measurement], bool],
) -> Finding:
    """A sentence on one measure of privacy: the tables that fail it, else the table that comes nearest to it."""
    present = {table: score for table, score in scores.items() if score is not None}
    if not present:
        return Finding(subject, "No table could be measured.", False, private=True)
    failing = [f"{table} ({words(score)})" for table, score in present.items() if fails(score)]
    if failing:
        return Finding(subject, f"In {listed(failing)} {bad}.", True, private=True)
    worst = max(present, key=lambda table: present[table].value - present[table].floor)
    return Finding(subject, f"{good}. The nearest to it is {worst}: {words(present[worst])}.", False, private=True)


def _repeats(judgement: DatabaseJudgement, schema: Schema) -> list[Finding]:
    """A sentence on tables too short to be measured that are mostly rows of the real database, if there are some.

    Reference tables have a sentence of their own.
    """
    repeats = {table: counts for table, counts in judgement.repeats.items() if table not in schema.real}
    tables = [f"{table} ({same:,} of {rows:,})" for table, (same, rows) in repeats.items() if 2 * same > rows]
    harmless = "That is harmless where they name nobody, as a list of countries does."
    text = f"Tables of few rows hold real ones: {listed(tables)}. {harmless}"
    return [Finding("short tables", text, True, private=True)] if tables else []


def _references(schema: Schema) -> list[Finding]:
    """A sentence on reference tables, if there are some."""
    text = f"By the schema these tables name no persons, and hold real rows: {listed([*schema.real])}."
    return [Finding("reference tables", text, False)] if schema.real else []


def _likeness(subject: str, noun: str, judgement: DatabaseJudgement, views: list[str]) -> Finding:
    """A sentence on what trained trees can tell from real rows."""
    scores = {view: score_of(judgement, view, LIKENESS) for view in views}
    present = {view: score for view, score in scores.items() if score is not None}
    if not present:
        return Finding(subject, f"No {noun} could be measured.", False)
    apart = [f"{view} (AUC {score.value:.2f})" for view, score in present.items() if apart_from_floor(score)]
    like = len(present) - len(apart)
    others = f"those of {plural(like, 'table' if noun == 'rows' else 'view')}"
    if not apart:
        return Finding(subject, f"Trained trees cannot tell {noun} from real ones: {others} are like real.", False)
    rest = f", and not {others}" if like else ""
    return Finding(subject, f"Trained trees tell {noun} of {listed(apart)} from real ones{rest}.", True)
