"""The spaces: what one raw example is. One file each, which says everything that depends on it.

A third party adds a space as one class of its own, see :class:`fourfold.core.Space`.
"""

from __future__ import annotations

from fourfold.spaces.categories import Categories
from fourfold.spaces.columns import Categorical, Column, Constant, DateTime, FreeText, Identifier, Numeric
from fourfold.spaces.composites import Nested, Patterned
from fourfold.spaces.images import Images
from fourfold.spaces.lines import Lines
from fourfold.spaces.sequences import Sequences
from fourfold.spaces.table import Table
from fourfold.spaces.text import Text
from fourfold.spaces.together import Together
from fourfold.spaces.tokenizer import Tokenizer
from fourfold.spaces.vectors import Vectors

__all__ = [
    "Categorical",
    "Categories",
    "Column",
    "Constant",
    "DateTime",
    "FreeText",
    "Identifier",
    "Images",
    "Lines",
    "Nested",
    "Numeric",
    "Patterned",
    "Sequences",
    "Table",
    "Text",
    "Together",
    "Tokenizer",
    "Vectors",
]

# model.json names a space by this package, so that its file may be moved and runs stay what they are.
for _space in (Categories, Images, Lines, Sequences, Table, Text, Together, Vectors):
    _space.__module__ = __name__
for _column in (Categorical, Constant, DateTime, FreeText, Identifier, Nested, Numeric, Patterned, Tokenizer):
    _column.__module__ = __name__
