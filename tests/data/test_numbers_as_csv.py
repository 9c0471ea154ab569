"""Numbers alone are written as CSV without pandas, by the same rules."""

from __future__ import annotations

import subprocess
import sys

import torch

from fourfold.data.writers import as_lines
from fourfold.spaces import Vectors


def test_numbers_are_written_as_pandas_writes_them():
    space = Vectors(4, columns=("a", 'b "c", d', "=sum(1)", "-2"))
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-9, 11, 5)
    x[:5] = torch.tensor([0.0, -0.0, 1e9, 1 / 3])
    x[5] = torch.tensor([torch.nan, torch.inf, -torch.inf, 123456.75])
    frame = space.table(x)
    frame.columns = ["a", 'b "c", d', "'=sum(1)", "-2"]
    assert as_lines(x, space) + "\n" == frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    assert as_lines(x[:1], Vectors(4)).startswith("x0,x1,x2,x3\n")


def test_they_need_no_pandas():
    code = (
        "import sys, torch; from fourfold.data.writers import as_lines; from fourfold.spaces import Vectors\n"
        "as_lines(torch.zeros(2, 2), Vectors(2)); assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
