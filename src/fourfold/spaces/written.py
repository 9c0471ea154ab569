"""The base classes of spaces whose examples are read as text: tables, lines and files of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from fourfold.core import ALONE, Beside, Space, Writer
from fourfold.machine.libraries import pandas as pd

__all__ = ["WrittenRows", "WrittenTexts"]


class WrittenTexts(Space):
    """A space whose examples are texts of token ids.

    Attributes:
        between: the characters between two examples in a file.
    """

    between: ClassVar[str] = "\n"

    @abstractmethod
    def show(self, ids: Tensor) -> str:
        """The text of ``(L,)`` ids."""

    def table(self, x: Tensor) -> pd.DataFrame:
        """One column of texts."""
        return pd.DataFrame({"text": [self.show(ids) for ids in x]})

    def lines(self, x: Tensor, beside: Beside = ALONE) -> str:
        return self.between.join(self.show(ids) for ids in x)

    def writers(self) -> Mapping[str, Writer]:
        return {".txt": self._write_lines}

    def _write_lines(self, path: Path, x: Tensor, beside: Beside) -> None:
        path.write_text(self.lines(x) + "\n", encoding="utf-8")


class WrittenRows(Space):
    """A space whose examples are rows of a file of columns, with the decimals, formats and gaps of that file."""

    @abstractmethod
    def table(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """The data frame of raw examples: all columns of the file, in its order, with its dtypes.

        Args:
            x: the examples.
            beside: a row for each, which a model of language that writes texts is shown before the row itself.
        """

    @abstractmethod
    def text(self, x: Tensor, beside: pd.DataFrame | None = None) -> pd.DataFrame:
        """As :meth:`table`, but every value is a text as the file writes it: with its decimals, format and gaps."""

    def _frame(self, x: Tensor, beside: Beside) -> pd.DataFrame:
        """The texts of examples, with the columns of their conditions."""
        return beside.after(self.text(x), self.row_counts(x))

    def lines(self, x: Tensor, beside: Beside = ALONE) -> str:
        text: str = self._frame(x, beside).to_csv(index=False, lineterminator="\n")
        return text.rstrip("\n")

    def writers(self) -> Mapping[str, Writer]:
        """CSV and TSV of texts as the file writes them, Feather of values with their dtypes."""

        def separated(separator: str) -> Writer:
            def write(path: Path, x: Tensor, beside: Beside) -> None:
                self._frame(x, beside).to_csv(path, index=False, sep=separator, lineterminator="\n")

            return write

        def feather(path: Path, x: Tensor, beside: Beside) -> None:
            beside.after(self.table(x), self.row_counts(x)).to_feather(path)

        return {".csv": separated(","), ".tsv": separated("\t"), ".feather": feather}
