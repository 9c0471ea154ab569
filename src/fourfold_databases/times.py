"""How the times of a column are written: tables of one database may write them in different ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pandas as pd

from fourfold.spaces.columns import DateTime

__all__ = ["TimeFormat"]

DAY = 86400
"""Seconds of a day."""
ISO = "%Y-%m-%d %H:%M:%S"
"""The format of times whose own is not recorded."""
ROUNDED = 3
"""Decimals of a number of steps of a column: a time in days has an error of less than a microsecond."""


@final
@dataclass(frozen=True)
class TimeFormat:
    """How the times of a column are written.

    Attributes:
        forms: in the letters of ``strftime``, the most frequent one first. Without one, each value is read by itself.
        resolution: in seconds.
        dtype: of values that are no texts.
    """

    forms: tuple[str, ...] = ()
    resolution: float = 1.0
    dtype: str = "str"

    @classmethod
    def of(cls, column: DateTime) -> TimeFormat:
        """That of a column."""
        return cls((column.format, *(form for form, _ in column.others)), column.resolution, column.dtype)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> TimeFormat:
        """The format that ``dataclasses.asdict`` wrote."""
        return cls(**{**record, "forms": tuple(record.get("forms", ()))})

    @property
    def of_clock(self) -> bool:
        """Whether times have no day, so that they are before and after no date."""
        return any("%H" in form and "%d" not in form for form in self.forms)

    def days(self, column: pd.Series) -> npt.NDArray[np.float64]:
        """Times in days since 1970. NaN for other values. A time in another format is read as it says itself."""
        inverse, distinct = pd.factorize(column)
        values = pd.Series(distinct)
        times = pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]")
        for form in self.forms:
            times = times.fillna(DateTime.times(values, form).astype("datetime64[us]"))
        if times.isna().any():
            texts = values.astype(str) if isinstance(values.dtype, pd.PeriodDtype) else values
            mixed = pd.to_datetime(texts, errors="coerce", format="mixed", utc=True).dt.tz_localize(None)
            times = times.fillna(mixed.astype("datetime64[us]"))
        days = np.append(((times - pd.Timestamp(0)) / pd.Timedelta(1, "D")).to_numpy(dtype=np.float64), np.nan)
        return np.asarray(days[inverse], dtype=np.float64)

    def written(self, days: npt.NDArray[np.float64], as_text: bool, up: bool) -> pd.Series:
        """Times as the column has them, at its resolution.

        Args:
            days: since 1970.
            as_text: whether values are texts.
            up: whether a time between two steps becomes the later one. Otherwise the earlier one.
        """
        steps = np.round(days * (DAY / self.resolution), ROUNDED)
        codes = np.nan_to_num(np.ceil(steps) if up else np.floor(steps)).astype(np.int64)
        column = DateTime("", self.dtype, resolution=self.resolution, format=self.forms[0] if self.forms else ISO)
        return column.text(codes) if as_text else column.values(codes)
