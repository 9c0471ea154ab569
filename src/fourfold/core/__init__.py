"""The nouns: every paradigm is trained, sampled and scored through these classes, and nothing else.

A generative system is identified by two answers: its training objective (:class:`Objective`, which learns an
:class:`Estimand`) and its sampling procedure (:class:`Sampler`, which needs one). :class:`GenerativeModel` holds both,
and refuses to exist when they do not fit.
"""

from fourfold.core.baseline import Baseline
from fourfold.core.codec import CachedCodec, Codec, TokenwiseCodec
from fourfold.core.conditionals import ArbitraryConditionals, JointConditionals
from fourfold.core.conditions import Batch, Condition, as_condition, forgetful, numbers_of, unknown, unknown_like
from fourfold.core.edges import register_paradigm, register_view, view
from fourfold.core.estimand import Estimand
from fourfold.core.evaluations import Evaluations, count_evaluations
from fourfold.core.free import FreeCodec, whole_model
from fourfold.core.likelihood import Likelihood
from fourfold.core.log_prob import LogProb, no_likelihood
from fourfold.core.measure import Measure
from fourfold.core.model import GenerativeModel, Stage, Staged
from fourfold.core.noise import Noise
from fourfold.core.objective import Objective, Occasional, SingleLoss, Term, Uncompiled
from fourfold.core.parts import Part, classes, configuration, construct, strangers
from fourfold.core.quality import Quality
from fourfold.core.reading import Reading, States
from fourfold.core.sampler import Sampler
from fourfold.core.space import ALONE, Beside, Pairs, Space, Writer
from fourfold.core.training import Training
from fourfold.pictures.panels import Bars, Matrices, Panels, Rows
from fourfold.pictures.picture import Album, Clips, Cloud, Excerpts, Picture, Sheet
from fourfold.pictures.strips import Strip, Strips
from fourfold.pictures.tracks import Track, Tracks

__all__ = [
    "ALONE",
    "Album",
    "ArbitraryConditionals",
    "Bars",
    "Baseline",
    "Batch",
    "Beside",
    "CachedCodec",
    "Clips",
    "Cloud",
    "Codec",
    "Condition",
    "Estimand",
    "Evaluations",
    "Excerpts",
    "FreeCodec",
    "GenerativeModel",
    "JointConditionals",
    "Likelihood",
    "LogProb",
    "Matrices",
    "Measure",
    "Noise",
    "Objective",
    "Occasional",
    "Pairs",
    "Panels",
    "Part",
    "Picture",
    "Quality",
    "Reading",
    "Rows",
    "Sampler",
    "Sheet",
    "SingleLoss",
    "Space",
    "Stage",
    "Staged",
    "States",
    "Strip",
    "Strips",
    "Term",
    "TokenwiseCodec",
    "Track",
    "Tracks",
    "Training",
    "Uncompiled",
    "Writer",
    "as_condition",
    "classes",
    "configuration",
    "construct",
    "count_evaluations",
    "forgetful",
    "no_likelihood",
    "numbers_of",
    "register_paradigm",
    "register_view",
    "strangers",
    "unknown",
    "unknown_like",
    "view",
    "whole_model",
]
