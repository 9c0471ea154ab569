"""Distributions: references of energies, how a network's output is read as a distribution, and laws of training's times."""
