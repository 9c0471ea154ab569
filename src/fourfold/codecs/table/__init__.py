"""Codecs of tables: every value as a token, as a real number, or both: categories as tokens and quantities as reals."""

from fourfold.codecs.table.corners import CORNER, FAR, RealRows
from fourfold.codecs.table.reals import GaussianColumns, MixedColumns
from fourfold.codecs.table.tokens import ColumnTokens

__all__ = ["CORNER", "FAR", "ColumnTokens", "GaussianColumns", "MixedColumns", "RealRows"]
