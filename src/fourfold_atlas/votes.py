"""Votes: the finds of the rules, counted by claim, by rule and by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fourfold_atlas.evidence import Cell, Claim, Evidence

__all__ = ["by_claim", "by_rule", "weigh", "weighs"]

#: the weight of a repetition, as a share of the one before
FADE = 0.6
#: the weight of words about labels and features where the text says that something is made, by a word or by so many
#: votes for one cell
BESIDE, MADE = 0.4, 4.0
#: the weight of each further reason why nothing is drawn, beside the strongest
FURTHER = 0.4


def by_claim(rows: Iterable[Evidence]) -> dict[Claim, float]:
    """Votes per claim. Each repetition counts ``FADE`` of the one before."""
    votes: dict[Claim, float] = {}
    times: dict[Claim, int] = {}
    for row in sorted(rows, key=lambda row: -row.weight):
        if row.weight < 0:
            votes[row.claim] = max(votes.get(row.claim, 0.0) + row.weight, -3.0)
            continue
        k = times.get(row.claim, 0)
        votes[row.claim] = votes.get(row.claim, 0.0) + row.weight * FADE**k
        times[row.claim] = k + 1
    return votes


def weighs(claim: Claim) -> bool:
    """True if votes for the claim change how cells are weighed."""
    return claim.cell is not None or claim is Claim.GENERATES


def by_rule(rows: Iterable[Evidence]) -> dict[str, float]:
    """Votes per rule, by its id, faded in the same way."""
    weights: dict[str, list[float]] = {}
    for row in rows:
        if "/" in row.rule:
            weights.setdefault(row.rule, []).append(row.weight)
    return {
        rule: sum(weight * FADE**k for k, weight in enumerate(sorted(rule_weights, reverse=True)))
        for rule, rule_weights in weights.items()
    }


def weigh(votes: Mapping[Claim, float]) -> dict[Cell, float]:
    """Votes per cell: a sum, but for the reasons why nothing is drawn, of which the strongest counts most."""
    scores = dict.fromkeys(Cell, 0.0)
    nothing = []
    for claim, vote in votes.items():
        if claim.speaks and claim.cell is Cell.NOT_GENERATIVE:
            nothing.append(vote)
        elif claim.speaks and claim.cell is not None:
            scores[claim.cell] += vote
    scores = {cell: max(score, 0.0) for cell, score in scores.items()}
    makes = votes.get(Claim.GENERATES, 0.0) >= 1 or max(scores.values()) >= MADE
    first, *rest = sorted(nothing, reverse=True) or [0.0]
    scores[Cell.NOT_GENERATIVE] = (first + FURTHER * sum(rest)) * (BESIDE if makes else 1.0)
    return scores
