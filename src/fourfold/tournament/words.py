"""The names and numbers of scores in words, for the terminal and the page."""

from __future__ import annotations

import math
import textwrap

from fourfold.metrics import Measurement
from fourfold.output.printable import plural
from fourfold.pictures.charts import number

__all__ = ["interval", "label", "listed", "plural", "short", "within", "wrapped"]

WIDTH = 80
"""The columns of the terminal."""

_LABELS = {
    "frechet_distance": "Fréchet distance",
    "mmd²": "MMD²",
    "two_sample_auc": "two-sample AUC",
    "pairs_auc": "AUC of pairs with conditions",
    "pairs_mmd²": "MMD² of pairs with conditions",
    "energy_score": "energy score",
    "crps": "CRPS",
    "interval_coverage": "coverage of central intervals",
    "rank_deviation": "deviation of ranks",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "diversity": "diversity given one condition",
    "train_on_synthetic": "trained on samples",
    "broken_rules": "rows that break a rule",
    "missing": "missing values",
    "closer_to_training": "closer to training than to test rows",
    "closest_record": "closer than held-out rows",
    "copies": "copies",
    "membership": "membership attack",
    "membership_by_likelihood": "membership attack by likelihood",
    "ngram_divergence": "n-gram divergence",
    "copied": "copied from training",
    "likelihood_gap": "training less test likelihood",
    "drift": "own samples less test likelihood",
    "evaluations_per_sample": "network evaluations per sample",
    "milliseconds_per_sample": "milliseconds per sample",
}


def label(name: str) -> str:
    """A score's name in words: ``frechet_distance[pixels]`` is "Fréchet distance (pixels)"."""
    stem, _, rest = name.partition("[")
    words = _LABELS.get(stem, stem.replace("_", " "))
    return f"{words} ({rest.rstrip(']')})" if rest else words


def interval(score: Measurement) -> str:
    """The interval of a score in brackets, after a space. Empty if there is none."""
    return f" ({number(score.low)} to {number(score.high)})" if math.isfinite(score.low) else ""


def listed(items: list[str]) -> str:
    """Items joined by commas, and by "and" before the last one."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def wrapped(line: str) -> str:
    """A line in lines that the terminal has room for. No word is broken."""
    return textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)


def short(value: float) -> str:
    """A number with three digits, without an exponent if it is below a million. A dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.0f}" if 1000 <= value < 1e6 else f"{value:.3g}"


def within(score: Measurement | None) -> str:
    """A score and half its interval, ``1.05 ± 0.09``, rounded to the first digits of that half."""
    if score is None:
        return ""
    half = (score.high - score.low) / 2
    if not half > 0 or not math.isfinite(score.value):
        return short(score.value)
    places = min(max(0, -math.floor(math.log10(half / 2))), 4)
    return f"{score.value:.{places}f} ± {half:.{places}f}"
