"""Run the example notebooks in their own kernels: ``python docs/run_notebooks.py`` writes what they print into them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
LARGEST = 150_000
"""Bytes of a notebook with what it prints."""


def run(path: Path) -> Any:
    """Run a notebook in an empty folder and return it with its outputs.

    Raises:
        CellExecutionError: if a cell raises.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}}).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it ran
    return book


if __name__ == "__main__":
    import nbformat

    for one in NOTEBOOKS:
        if not sys.argv[1:] or one.stem in sys.argv[1:]:
            nbformat.write(run(one), one)
            print(f"{one.name}: {one.stat().st_size:,} bytes", flush=True)
