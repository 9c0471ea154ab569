"""The zoo: small trained runs that come with the package. ``zoo:digits/diffusion`` is the name of one of them.

``tools/make_zoo.py`` trains them. Each is a run folder like any other. Torch-free.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["FOLDER", "folder_of", "names"]

FOLDER = Path(__file__).parent / "zoo"
"""The folder of all runs of the zoo."""


def names() -> list[str]:
    """The names of the runs: ``digits/diffusion`` and so on, in alphabetical order."""
    return sorted(path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*/model.json"))


def folder_of(name: str) -> Path:
    """The folder of a run of the zoo.

    Raises:
        ValueError: for a name that the zoo does not have, listing those that it has.
    """
    if name not in names():
        raise ValueError(f"zoo:{name} must be a run of the zoo, got another name: choose one of {', '.join(names())}")
    return FOLDER / name
