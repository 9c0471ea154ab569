"""A wing: databases. Tables linked by keys, each modelled given the row that owns its rows."""

from __future__ import annotations

__all__ = ["ENDINGS"]

ENDINGS = (".sqlite", ".sqlite3", ".db", ".duckdb")
"""Endings of files that may hold several tables."""
