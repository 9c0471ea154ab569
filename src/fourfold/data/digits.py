"""The handwritten digits that scikit-learn brings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from fourfold.machine.libraries import sklearn

__all__ = ["read_digits"]


def read_digits() -> np.ndarray:
    """Pixel values and class of each digit, ``(1797, 65)`` uint8, from the file that scikit-learn brings.

    Its function reads the same file, but loading the library takes as long as loading torch.
    """
    specification = importlib.util.find_spec("sklearn")
    folder = Path(specification.origin).parent if specification and specification.origin else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        return np.loadtxt(file, dtype=np.uint8, delimiter=",")
    bunch = sklearn.datasets.load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.uint8)
