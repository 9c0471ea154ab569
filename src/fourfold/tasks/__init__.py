"""Tasks: functions of a trained model and a request, ``task(model, request) -> result``.

A run has its model in ``run.model``: ``fourfold.tasks.impute(run.model, "holes.csv")``.
"""

from fourfold.tasks.bayes import PosteriorDraws, posterior
from fourfold.tasks.classifying import (
    ClassifierScores,
    category_probabilities,
    class_probabilities,
    classifiers,
    classify,
    judge,
)
from fourfold.tasks.completing import complete, completions, conditional, log_prob_given, prob_given
from fourfold.tasks.conditions import Conditioning, conditioning
from fourfold.tasks.evaluation import evaluate
from fourfold.tasks.forecasting import Forecast, forecast
from fourfold.tasks.given import AcceptedSamples, Given, requirements, sample_given
from fourfold.tasks.imputing import Imputed, Skipped, impute
from fourfold.tasks.language import Shaping, fill, generate, score_text
from fourfold.tasks.requirement import Requirement
from fourfold.tasks.unusual import unusual_columns

__all__ = [
    "AcceptedSamples",
    "ClassifierScores",
    "Conditioning",
    "Forecast",
    "Given",
    "Imputed",
    "PosteriorDraws",
    "Requirement",
    "Shaping",
    "Skipped",
    "category_probabilities",
    "class_probabilities",
    "classifiers",
    "classify",
    "complete",
    "completions",
    "conditional",
    "conditioning",
    "evaluate",
    "fill",
    "forecast",
    "generate",
    "impute",
    "judge",
    "log_prob_given",
    "posterior",
    "prob_given",
    "requirements",
    "sample_given",
    "score_text",
    "unusual_columns",
]
