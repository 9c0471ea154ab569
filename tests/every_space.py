"""A small space of each kind, with and without conditions."""

from collections.abc import Mapping

from fourfold.core import Space
from fourfold.spaces import (
    Audio,
    Categorical,
    Categories,
    DateTime,
    Identifier,
    Images,
    Lines,
    Numeric,
    Sequences,
    Table,
    Text,
    Vectors,
    Video,
)

__all__ = ["SPACES"]

KIND, PRICE = Categorical("kind", categories=("a", "b", "c"), missing=True), Numeric("price", low=0, high=999)
ROWS = Sequences((Identifier("user"), Numeric("when", low=0, high=50), KIND, PRICE), "when", (0, 9), 6, "user")

SPACES: Mapping[str, Space] = {
    "vectors": Vectors(3),
    "vectors-by-class": Vectors(2, given=Categories.numbered(3)),
    "vectors-by-vector": Vectors(2, given=Vectors(3)),
    "images": Images(1, 4, 4, n_values=17),
    "images-by-class": Images(3, 5, 10, n_values=256, given=Categories.numbered(4)),
    "images-by-caption": Images(3, 4, 6, n_values=256, given=Lines.of_bytes(12)),
    "text": Text("abcdef", length=24),
    "sound": Audio(512, 8000, given=Categories.numbered(2)),
    "table": Table((KIND, PRICE)),
    "sequences": ROWS,
    "windows": Sequences((DateTime("day", resolution=86400, high=90), Numeric("price", high=99)), "day", (1, 3), 5),
    "clips": Video(4, 8, 8, n_values=17, frames=4),
}
