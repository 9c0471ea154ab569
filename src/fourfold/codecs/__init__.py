"""The codecs: from raw examples to the codes that a network models and back, with log-determinants.

Rescaling happens here and nowhere else. A codec of integers either keeps them discrete (:class:`Tokens`,
:class:`Centred`, :class:`BitPlanes`), so that a model gives masses, or spreads them over reals by uniform noise
(:class:`Dequantised`, :class:`GaussianPixels`), so that an exact density bounds the mass from below (Theis, van den
Oord, Bethge 2016, https://arxiv.org/abs/1511.01844).
"""

from fourfold.codecs.images import BitPlanes, Centred, Dequantised, GaussianPixels, Tokens
from fourfold.codecs.learned import LearnedCodec, QuantisedCodec
from fourfold.codecs.sequences import RowCodes, RowTokens
from fourfold.codecs.table import ColumnTokens, GaussianColumns, MixedColumns, RealRows
from fourfold.codecs.text import LineTokens, TextTokens
from fourfold.codecs.vectors import Standardised

__all__ = [
    "BitPlanes",
    "Centred",
    "ColumnTokens",
    "Dequantised",
    "GaussianColumns",
    "GaussianPixels",
    "LearnedCodec",
    "LineTokens",
    "MixedColumns",
    "QuantisedCodec",
    "RealRows",
    "RowCodes",
    "RowTokens",
    "Standardised",
    "TextTokens",
    "Tokens",
]
