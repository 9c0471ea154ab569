"""The recorded traces of the page: those of the zoo, whose runs of one data set stand beside each other. Torch-free."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Sequence

from fourfold_web import zoo

__all__ = ["TRACE", "sets", "trace_of", "write_traces"]

ORDER = ("autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy", "latent-diffusion")
"""The order in which paradigms stand beside each other."""
TRACE = "trace.json.gz"
"""The file of a trace, in the folder of its run."""


def sets() -> dict[str, list[str]]:
    """The data sets of which the zoo has the traces of several paradigms, and their names in order."""
    traced = [name for name in zoo.names() if (zoo.folder_of(name) / TRACE).is_file()]
    return _by_data(traced)


def _by_data(names: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        data, _, paradigm = name.partition("/")
        groups.setdefault(data, []).append(paradigm)
    several = {data: sorted(group, key=ORDER.index) for data, group in groups.items() if len(group) > 1}
    return dict(sorted(several.items(), reverse=True))


@functools.cache
def trace_of(data: str, name: str) -> str:
    """The record of the trace of a run of the zoo, as JSON. ``tools/make_zoo.py`` has written it beside the runs.

    Raises:
        ValueError: for a run that the zoo does not have.
    """
    folder = zoo.folder_of(f"{data}/{name}")
    return gzip.decompress((folder / TRACE).read_bytes()).decode()


def write_traces() -> None:
    """Write the trace of every run of the sets beside it."""
    from fourfold_web.traces import traced  # loads torch

    for data, names in _by_data(zoo.names()).items():
        for name in names:
            folder = zoo.folder_of(f"{data}/{name}")
            text = json.dumps(traced(folder, data).record(), ensure_ascii=False, separators=(",", ":"))
            (folder / TRACE).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
