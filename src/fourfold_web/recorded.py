"""The recorded traces of the page: those of the zoo, whose runs of one data set stand beside each other."""

from __future__ import annotations

import functools
from typing import Any

from fourfold import Run, load
from fourfold_web import zoo
from fourfold_web.traces import trace

__all__ = ["sets", "trace_of"]

ORDER = ("autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy", "latent-diffusion")
"""The order in which paradigms stand beside each other."""
WALL = 16
"""Images of a trace."""


def sets() -> dict[str, list[str]]:
    """The data sets of which the zoo has a run of several paradigms, and their names in order."""
    groups: dict[str, list[str]] = {}
    for name in zoo.names():
        data, _, paradigm = name.partition("/")
        groups.setdefault(data, []).append(paradigm)
    several = {data: sorted(names, key=ORDER.index) for data, names in groups.items() if len(names) > 1}
    return dict(sorted(several.items(), reverse=True))


@functools.cache
def trace_of(data: str, name: str) -> dict[str, Any]:
    """The record of the trace of a run of the zoo.

    Raises:
        ValueError: for a run that the zoo does not have.
    """
    run = Run.load(zoo.folder_of(f"{data}/{name}"), "cpu")
    examples = load(data).test.x
    plane = run.model.space.shape == (2,)
    return trace(run.model, examples, n=240 if plane else WALL, scored=256 if plane else 128).record()
