"""Codes of a table are its values, and back."""

from __future__ import annotations

import io

import pandas as pd
import torch

from fourfold.core.parts import configuration, construct
from fourfold.spaces import Categorical, Constant, DateTime, Identifier, Numeric, Table

TABLE = Table(
    (
        Identifier("id", "int64"),
        Categorical("kind", categories=("x", "y"), missing=True),
        Numeric("price", "float64", resolution=0.01, low=-5, high=200, decimals=2, missing=True),
        Numeric("income", "int64", resolution=500.0, low=0, high=4),
        DateTime("day", resolution=86400, low=0, high=20000, missing=True),
        Constant("country", value="NO"),
        Categorical("member", "bool", categories=("False", "True")),
    )
)


def test_a_table_reads_what_it_writes():
    x = TABLE.examples(200, torch.Generator().manual_seed(0))
    TABLE.check(x)
    frame = TABLE.table(x)
    assert list(frame.columns) == [column.name for column in TABLE.schema]
    assert [str(kind) for kind in frame.dtypes] == [column.dtype for column in TABLE.schema]
    assert torch.equal(TABLE.codes(frame), x)
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    assert torch.equal(TABLE.codes(again), x)


def test_a_table_is_its_configuration():
    assert construct(configuration(TABLE)) == TABLE
