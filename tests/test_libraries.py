"""Libraries that are loaded when they are first used: by tables alone, and as if they had been imported."""

import subprocess
import sys

import pandas
import pyarrow.parquet
import pytest

from fourfold.machine import libraries


def test_a_library_gives_what_an_import_gives() -> None:
    assert libraries.pandas.DataFrame is pandas.DataFrame
    assert libraries.pyarrow.parquet is pyarrow.parquet
    with pytest.raises(AttributeError, match="no_such_name"):
        libraries.pandas.no_such_name  # noqa: B018


def test_modules_of_a_library_need_no_import_of_their_own_and_only_tables_load_it() -> None:
    code = """
import sys
import fourfold
from fourfold.machine import libraries
from fourfold.spaces import Numeric, Table
table = Table((Numeric("a", high=99),))
fourfold.load("two-moons", limit=100, given="labels")
assert not {"pandas", "pyarrow", "sklearn"} & set(sys.modules)
assert libraries.pyarrow.csv.ParseOptions().delimiter == ","
assert "pandas" not in sys.modules
import torch
table.table(torch.tensor([[3]]))
assert "pandas" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
