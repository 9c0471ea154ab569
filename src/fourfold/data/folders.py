"""Folders of many files, such as images or sounds: every sub-folder a class, or one flat folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from fourfold.data.errors import DataError
from fourfold.settings.data import DataOptions
from fourfold.spaces import Categories

__all__ = ["IMAGES", "classes_of", "entries", "files_of", "holds", "limited", "members"]

IMAGES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of the files of images."""
_LITTER = ("thumbs.db", "desktop.ini", "__macosx")


def files_of(folder: Path, suffixes: Sequence[str], things: str, kinds: str) -> tuple[list[Path], list[Path], bool]:
    """The files of a kind in order of class and name, all other files, and whether the folder is flat.

    Args:
        folder: the folder.
        suffixes: endings of the files that are wanted.
        things: the plural noun for their content.
        kinds: the formats in words.

    Raises:
        DataError: for such files beside folders, an empty class, a folder within a class, or none of the files.
    """
    files, folders = entries(folder)
    flat = [path.name for path in files if path.suffix.lower() in suffixes]
    if flat and folders:
        raise DataError(
            f"{folder}: must hold {things} or folders, got both ({flat[0]} and {folders[0].name}); "
            f"put all {things} into it, or all into sub-folders, one per class"
        )
    within = [*files, *(path for sub in folders for path in members(sub, things))]
    other_files = [path for path in within if path.suffix.lower() not in suffixes]
    matches = [path for path in within if path.suffix.lower() in suffixes]
    if not matches:
        remark = f", only files like {other_files[0].name}" if other_files else ""
        itself = f", or {other_files[0]} itself" if len(other_files) == 1 else ""
        raise DataError(f"{folder}: must hold {kinds}, got none{remark}; give a folder of {things}{itself}")
    return matches, other_files, not folders


def holds(folder: Path, suffixes: Sequence[str]) -> bool:
    """True if a folder or one of its sub-folders has a file of a kind."""
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*"))


def classes_of(files: Sequence[Path]) -> tuple[torch.Tensor, Categories]:
    """The classes of files, named by their folders."""
    names = sorted({path.parent.name for path in files})
    ids = {name: i for i, name in enumerate(names)}
    return torch.tensor([ids[path.parent.name] for path in files]), Categories(tuple(names))


def limited(files: list[Path], options: DataOptions) -> list[Path]:
    """A seeded choice of files in their order, so that only those are decoded."""
    if options.limit is None or options.limit >= len(files):
        return files
    generator = torch.Generator().manual_seed(options.seed)
    selection = torch.randperm(len(files), generator=generator)[: options.limit].sort().values
    return [files[i] for i in selection.tolist()]


def entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders in a folder, sorted, without hidden ones and litter."""
    try:
        paths = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in _LITTER)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}): check its permissions") from None
    return [p for p in paths if not p.is_dir()], [p for p in paths if p.is_dir()]


def members(folder: Path, things: str = "images") -> list[Path]:
    """The files of one class."""
    files, folders = entries(folder)
    if folders:
        raise DataError(
            f"{folder}: must hold {things} directly, got the folder {folders[0].name}; move its {things} up"
        )
    if not files:
        raise DataError(f"{folder}: must hold the {things} of a class, got none: remove the folder, or add some")
    return files
