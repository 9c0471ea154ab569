"""Products that have no entry of their own: relatives of catalogued systems, and those that nobody has described."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from fourfold_atlas.catalogue import plain

__all__ = ["Product", "products"]


@dataclass(frozen=True)
class Product:
    """A product: its names, and what its makers say of it, in our own words.

    Attributes:
        like: the catalogued system whose two answers it shares, or the empty string where its mechanism is not
            published.
    """

    name: str
    aliases: tuple[str, ...]
    year: int
    organisation: str
    modality: str
    known: str
    source: str
    like: str = ""


@lru_cache(maxsize=1)
def products() -> Mapping[str, Product]:
    """Every product by its plain names."""
    files = resources.files("fourfold_atlas")
    rows = tomllib.loads(files.joinpath("products.toml").read_text(encoding="utf-8"))["product"]
    lines = files.joinpath("relatives.tsv").read_text(encoding="utf-8").splitlines()
    relatives = (
        {**row, "aliases": row["aliases"].split(";"), "year": int(row["year"])}
        for row in csv.DictReader(lines, delimiter="\t")
    )
    both = [Product(**{**row, "aliases": tuple(filter(None, row["aliases"]))}) for row in (*rows, *relatives)]
    return {plain(name): product for product in both for name in (product.name, *product.aliases)}
