"""Error rates of transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from fourfold.metrics.score import Measurement, bootstrap

__all__ = ["edits", "error_rate"]


def edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """The least number of insertions, deletions and substitutions that turn one sequence into another.

    Reference: Levenshtein 1966, Binary Codes Capable of Correcting Deletions, Insertions and Reversals.
    """
    row = list(range(len(reference) + 1))
    for i, word in enumerate(hypothesis, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(reference, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != right))
    return row[-1]


def error_rate(texts: Sequence[str], references: Sequence[str], unit: Literal["word", "character"]) -> Measurement:
    """The edits of all texts over the words, or the characters, of all true texts, with a bootstrap interval.

    Args:
        texts: the transcripts of a model.
        references: the true transcript of each.
        unit: what an edit changes. Words are what stands between spaces, as it is written.
    """
    split = str.split if unit == "word" else list
    pairs = [(split(text), split(reference)) for text, reference in zip(texts, references, strict=True)]
    terms = torch.tensor([[edits(a, b), len(b)] for a, b in pairs], dtype=torch.float64)
    value, low, high = bootstrap(lambda means: means[:, 0] / means[:, 1].clamp(min=1 / len(terms)), terms)
    words = f"edits of all texts over the {unit}s of all true ones; interval over texts: bootstrap"
    return Measurement(f"{unit}_error_rate", value, low, high, n=len(terms), protocol=words, better="lower")
