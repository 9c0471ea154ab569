"""Likelihoods that several paradigms share. Those of one paradigm are in its file."""

from fourfold.likelihoods.bound import DiffusionBound
from fourfold.likelihoods.none import NoDensity
from fourfold.likelihoods.ode import ProbabilityFlow

__all__ = ["DiffusionBound", "NoDensity", "ProbabilityFlow"]
