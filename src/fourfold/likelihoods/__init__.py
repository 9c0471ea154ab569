"""Likelihoods that several paradigms share; the file of a paradigm holds those that only it has.
"""

from fourfold.likelihoods.bound import DiffusionBound
from fourfold.likelihoods.none import NoDensity
from fourfold.likelihoods.ode import ProbabilityFlow

__all__ = ["DiffusionBound", "NoDensity", "ProbabilityFlow"]
