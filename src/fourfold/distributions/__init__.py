"""Distributions with weights or statistics of their own: references, and how a network's output is read as a distribution."""
