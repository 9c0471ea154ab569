"""Writers of the texts of a column: a wing opens a model of language for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from fourfold.core import LogProb
from fourfold.machine.libraries import pandas as pd

__all__ = ["TextWriter"]


class TextWriter(ABC):
    """``p(text | the other columns of its row)``, a part of ``model.json``: a dataclass of a wing.

    :meth:`fourfold.adapters.Adapter.text_writer` names it.
    """

    @classmethod
    @abstractmethod
    def of(cls, path: str, column: str, rows: pd.DataFrame, texts: pd.Series) -> Self:
        """The writer by a model in a file or folder.

        Args:
            path: of the model.
            column: the name of the column of texts.
            rows: training rows as texts, without that column.
            texts: theirs. Empty where there is none.

        Raises:
            ValueError: for a model that cannot be opened.
        """

    @property
    @abstractmethod
    def words(self) -> str:
        """The model, and the rows that it is shown, for a note."""

    @abstractmethod
    def texts(self, column: str, rows: pd.DataFrame, seeds: list[int]) -> list[str]:
        """Texts of rows, each drawn by its seed.

        Raises:
            ValueError: if the model is not there any more.
        """

    @abstractmethod
    def log_prob(self, column: str, rows: pd.DataFrame, texts: list[str]) -> LogProb:
        """``log p(text | row)`` of each text, its end included, in nats."""
