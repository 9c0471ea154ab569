"""Distributions: observation models of decoders, references of energies, and the laws of training's times."""
