"""The folders that the page may read: named once, when it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fourfold.adapters import adapter_of

__all__ = ["runs_of"]

DEPTH = 3
"""How far below a folder runs are looked for."""
MOST = 500
"""The most runs of a page."""


def runs_of(folders: Sequence[Path]) -> Mapping[str, Path]:
    """The runs in folders and published models, by names that are unique and short.

    Raises:
        ValueError: for a folder that is none, or holds no run.
    """
    paths = [path for folder in folders for path in _below(folder)]
    return dict(zip(_names(paths), paths, strict=True))


def _below(folder: Path) -> list[Path]:
    if adapter_of(folder) is not None:
        return [folder.resolve()]
    if not folder.is_dir():
        raise ValueError(
            f"RUN must be a folder or a published model, got {folder}: train a run by fourfold fit, or leave it out"
        )
    paths = list(_runs(folder.resolve(), DEPTH))[:MOST]
    if not paths:
        raise ValueError(f"RUN must hold a run, got {folder} without model.json: give the folder of a run")
    return paths


def _runs(folder: Path, depth: int) -> Iterator[Path]:
    """A folder that is a run, or those below it."""
    if (folder / "model.json").is_file():
        yield folder
    elif depth:
        for path in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
            yield from _runs(path, depth - 1)


def _names(paths: Sequence[Path]) -> list[str]:
    """For each path its last parts, as many as tell it from the others."""
    count = 1
    while count < max((len(path.parts) for path in paths), default=0):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len({*names}) == len({*paths}):
            break
        count += 1
    return ["/".join(path.parts[-count:]) for path in paths]
