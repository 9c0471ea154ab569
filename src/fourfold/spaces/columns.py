"""The columns of a table: values as integer codes, and back."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from fourfold.machine.libraries import pandas as pd
from fourfold.spaces.formats import is_format, numbered_texts
from fourfold.spaces.spelling import Spelling
from fourfold.spaces.texts import TextWriter

__all__ = [
    "COORDINATE",
    "MISSING",
    "POOL",
    "UNSEEN",
    "Categorical",
    "Codes",
    "Column",
    "Constant",
    "DateTime",
    "FreeText",
    "Graded",
    "Identifier",
    "Modelled",
    "Numeric",
    "Unmodelled",
    "plain_numbers",
]

MISSING = -(2**63)
"""The code of a missing value: whether a value is missing is part of the distribution."""
POOL = "other"
"""The category into which rare ones are pooled, where these are enough."""
UNSEEN = MISSING + 1
"""The code of a value that the schema does not hold: it has no mass, and no sample has it."""
UNREADABLE = MISSING + 2
"""The answer of :meth:`Column.read` to a value that is not of the column's kind, such as a word among numbers."""
FARTHEST = 2**61
"""The largest code of a number that has a mass."""
YEARS = (-9_214_560_000, 9_183_110_399)
"""Seconds from 1970 to the first of 1678 and the last of 2260: times that every dtype of times can hold."""
TWO_DIGITS = (-31_536_000, 3_124_223_999)
"""The same for 1969 to 2068, which two digits of a year stand for."""
CLOCK = (-2_208_988_800, -2_208_902_401)
"""The same for the day of 1900-01-01, on which times without a date lie."""
EPOCHS = {"epoch s": 1, "epoch ms": 1_000, "epoch us": 1_000_000}
"""Formats of times that are numbers since 1970, by their units in a second."""

COORDINATE = re.compile(
    r"(?:(?<![A-Za-z])(?i:lat|latitude|lon|lng|long|longitude)|(?<=[a-z])L(?:at|atitude|on|ng|ong|ongitude))$"
)
"""Names of columns of degrees on the globe."""
REDRAWS = 50
"""Draws of a text that no earlier row has, at most."""
REWRITES = 2
"""The same where a writer draws it, which takes longer."""
MIXING = np.uint64(0x9E3779B97F4A7C15)
"""An odd number whose multiples look random in their first bits."""

Codes: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column(ABC):
    """One column of a table.

    Attributes:
        name: as in the file.
        dtype: of its values in a data frame, as pandas writes it.
    """

    name: str
    dtype: str = "str"

    @property
    @abstractmethod
    def blank(self) -> int:
        """The code of a value that is not there."""

    @abstractmethod
    def read(self, distinct: pd.Series) -> Codes:
        """The codes of values that are there, each looked at once. ``UNREADABLE`` where one is of another kind."""

    @abstractmethod
    def values(self, codes: Codes) -> pd.Series:
        """The values of codes, with the dtype of the data."""

    @abstractmethod
    def text(self, codes: Codes) -> pd.Series:
        """The values of codes as the file writes them."""

    @property
    def description(self) -> str:
        """The kind of value that the column holds, in words that go on after "is not"."""
        return "a value of this column"

    def codes(self, values: pd.Series) -> Codes:
        """The codes ``(N,)`` of values as a file or a data frame holds them. :data:`MISSING` where there is none.

        Raises:
            ValueError: for a value that no code of this kind can hold, with its row and the way out.
        """
        inverse, distinct = pd.factorize(values)
        return self.codes_of(inverse, pd.Series(distinct))

    def codes_of(self, inverse: npt.NDArray[Any], distinct: pd.Series, rows: npt.NDArray[Any] | None = None) -> Codes:
        """The codes of rows, whose values are given by their index among the distinct ones. -1 stands for no value.

        Args:
            inverse: the index of the distinct value of each row, ``(N,)``.
            distinct: the different values.
            rows: the places of the rows in their file, from 0, for messages.

        Raises:
            ValueError: as :meth:`codes` does.
        """
        codes = np.append(self.read(distinct), self.blank).astype(np.int64)
        wrong = np.flatnonzero(codes == UNREADABLE)
        if len(wrong):
            row = int(np.isin(inverse, wrong).argmax())
            place = 1 + (row if rows is None else int(rows[row]))
            value = str(distinct.iloc[inverse[row]])[:40]
            raise ValueError(
                f"row {place}, column {self.name}: must be {self.description}, got {value!r}; "
                "correct it, or say in a schema that it means a missing value, or that the column is a category"
            )
        return codes[inverse]


@dataclass(frozen=True)
class Modelled(Column, ABC):
    """A column that is a coordinate of raw examples.

    Attributes:
        missing: whether a value may be missing.
        gaps: texts that stand for a missing value in the file. The first is the one that samples have.
    """

    missing: bool = False
    gaps: tuple[str, ...] = ("",)

    @property
    def blank(self) -> int:
        return MISSING

    @property
    @abstractmethod
    def span(self) -> tuple[int, int]:
        """The first and the last code of the data."""

    def replaced(self, inverse: npt.NDArray[Any], distinct: pd.Series) -> npt.NDArray[np.bool_]:
        """Which rows hold a value that another one stands for, ``(N,)``: see :meth:`codes_of` for the arguments."""
        return np.zeros(len(inverse), dtype=np.bool_)

    @abstractmethod
    def _codes_without_gaps(self, distinct: pd.Series) -> Codes:
        """As :meth:`read`, for values that are not gaps."""

    @abstractmethod
    def _values(self, codes: Codes) -> pd.Series:
        """As :meth:`values`, for codes that hold a value."""

    @abstractmethod
    def _text(self, codes: Codes) -> npt.NDArray[Any]:
        """As :meth:`text`, for codes that hold a value."""

    def read(self, distinct: pd.Series) -> Codes:
        text = distinct.astype(str).str.strip()
        gap = text.isin(self.gaps).to_numpy(dtype=bool)
        if pd.api.types.is_string_dtype(distinct.dtype) or isinstance(distinct.dtype, pd.CategoricalDtype):
            distinct = text
        codes = np.full(len(distinct), MISSING, dtype=np.int64)
        if not gap.all():
            codes[~gap] = self._codes_without_gaps(distinct[~gap])
        return codes

    def values(self, codes: Codes) -> pd.Series:
        distinct, place = np.unique(codes, return_inverse=True)
        mask = distinct >= UNREADABLE
        present = self._values(distinct[mask]).reset_index(drop=True)
        kind: Any = _with_gaps(str(present.dtype)) if not mask.all() and len(present) else present.dtype
        whole = present.astype(kind).reindex(np.where(mask, mask.cumsum() - 1, -1))
        return pd.Series(whole.array.take(place))

    def text(self, codes: Codes) -> pd.Series:
        distinct, place = np.unique(codes, return_inverse=True)
        mask = distinct >= UNREADABLE
        words = np.full(len(distinct), self.gaps[0] if self.gaps else "", dtype=object)
        words[mask] = self._text(distinct[mask])
        return pd.Series(words[place], dtype=object)


@final
@dataclass(frozen=True)
class Categorical(Modelled):
    """A column of categories: code ``k`` is category ``k``.

    Attributes:
        categories: their text in the file.
        ordered: whether the order of the categories means something.
        other: the category of all values that are not listed. ``None``: such values have no code.
        nearest: whether a number that is not listed has the category of the nearest number.
        spellings: words as the file writes them, with the blanks around them. Empty: as they are.
    """

    categories: tuple[str, ...] = ()
    ordered: bool = False
    other: str | None = None
    nearest: bool = False
    spellings: tuple[str, ...] = ()

    @property
    def span(self) -> tuple[int, int]:
        return 0, len(self.categories) - 1

    def _codes_without_gaps(self, distinct: pd.Series) -> Codes:
        text, numbers = distinct.astype(str), self.numbers
        codes = pd.Index(self.categories, dtype=object).get_indexer(pd.Index(text, dtype=object)).astype(np.int64)
        if numbers is not None:  # 1 and 1.0 are one number, however they are written
            values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
            codes = np.where(codes < 0, pd.Index(numbers).get_indexer(pd.Index(values)), codes)
            if self.nearest:
                distance = np.abs(values[:, None] - numbers[None])
                codes = np.where((codes < 0) & np.isfinite(values), distance.argmin(1), codes)
        elif self.dtype == "bool":
            lower = pd.Index([category.lower() for category in self.categories], dtype=object)
            codes = lower.get_indexer(pd.Index(text.str.lower(), dtype=object)).astype(np.int64)
        return np.where(codes < 0, UNSEEN if self.other is None else self.categories.index(self.other), codes)

    def unlisted(self, inverse: npt.NDArray[Any], distinct: pd.Series) -> npt.NDArray[np.bool_]:
        """Which rows hold no listed category and no gap, ``(N,)``, as :meth:`codes_of` takes them."""
        return replace(self, other=None, nearest=False).codes_of(inverse, distinct) == UNSEEN

    def replaced(self, inverse: npt.NDArray[Any], distinct: pd.Series) -> npt.NDArray[np.bool_]:
        return self.unlisted(inverse, distinct) if self.instead is not None else super().replaced(inverse, distinct)

    @property
    def instead(self) -> str | None:
        """The category that stands for one which is not listed, in words. ``None`` if none does."""
        return "the nearest number" if self.nearest else None if self.other is None else repr(self.other)

    @property
    def numbers(self) -> npt.NDArray[np.float64] | None:
        """The categories as numbers, if the data holds numbers, or texts that stand for the nearest number."""
        return np.array(self.categories, dtype=np.float64) if self.nearest or self.dtype[0] in "iufIUF" else None

    def _values(self, codes: Codes) -> pd.Series:
        if self.dtype[0] in "iufIUF":  # whole numbers of more than 15 digits stay exact
            categories = pd.to_numeric(pd.Series(self.categories, dtype=object))
            return _cast(pd.Series(categories.to_numpy()[codes]), self.dtype)
        text = pd.Series(self._text(codes), dtype=object)
        if self.dtype == "bool":
            return text.str.lower().eq("true")
        if self.dtype == "category":
            return pd.Series(pd.Categorical(text, categories=list(self.categories), ordered=self.ordered))
        return text.astype(str)

    def _text(self, codes: Codes) -> npt.NDArray[Any]:
        return np.array(self.spellings or self.categories, dtype=object)[codes]


@dataclass(frozen=True)
class Graded(Modelled, ABC):
    """A quantity on a grid: code ``k`` is ``resolution * k``, or ten to this power.

    Attributes:
        resolution: distance of neighbouring values.
        low, high: the smallest and the largest code of the data.
        beyond: the probability of a value below ``low``, and of one above ``high``.
        scale: how far such values lie outside, in steps of the resolution: see :mod:`fourfold.maths.tails`.
        support: values that fewer training rows have are smoothed: no model or baseline counts them by themselves.
    """

    resolution: float = 1.0
    low: int = 0
    high: int = 0
    beyond: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    support: int = 1

    @property
    def span(self) -> tuple[int, int]:
        return self.low, self.high

    def quantities(self, codes: Codes) -> npt.NDArray[np.float64]:
        """The values that codes stand for, in the unit of the column."""
        return codes.astype(np.float64) * self.resolution

    def places(self, quantities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Where quantities lie on the grid, in steps. NaN or infinite for one that it cannot have."""
        return quantities / self.resolution

    @property
    @abstractmethod
    def possible(self) -> tuple[int, int]:
        """The smallest and the largest code that a value of this column can have at all."""

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest code that has a mass: those of the data where no value lies beyond."""
        least, most = self.possible
        return (
            min(least, self.low) if self.beyond[0] > 0 else self.low,
            max(most, self.high) if self.beyond[1] > 0 else self.high,
        )


@final
@dataclass(frozen=True)
class Numeric(Graded):
    """A number at its resolution, such as 0.01, 1 or 500: so it has a mass, which models can be compared by.

    Attributes:
        decimals: the most digits behind the point in the file.
        least: the fewest digits behind the point in the file. Zeros fill them up.
        prefix, suffix: the signs and units around each number, such as ``$`` and `` kg``.
        thousands: the sign between groups of three digits, or none.
        point: the sign before the digits behind the point.
        logarithmic: whether code ``k`` is ``10^(resolution * k)``, for positive numbers over many decades. A mass of
            the code is a density of the number times ``x ln(10) resolution``.
    """

    decimals: int = 0
    least: int = 0
    prefix: str = ""
    suffix: str = ""
    thousands: str = ""
    point: str = "."
    logarithmic: bool = False

    def quantities(self, codes: Codes) -> npt.NDArray[np.float64]:
        return 10.0 ** super().quantities(codes) if self.logarithmic else super().quantities(codes)

    def places(self, quantities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if not self.logarithmic:
            return super().places(quantities)
        return super().places(np.log10(np.where(quantities > 0, quantities, np.nan)))

    @property
    def _plainly(self) -> bool:
        """Whether texts are numbers without signs and units."""
        return not (self.prefix or self.suffix or self.thousands) and self.point == "."

    @property
    def possible(self) -> tuple[int, int]:
        """No number has another sign than those of the data, or is too large for its dtype."""
        if self.logarithmic:
            return math.ceil(POWERS[0] / self.resolution), math.floor(POWERS[1] / self.resolution)
        least, most = 0 if self.low >= 0 else -FARTHEST, 0 if self.high <= 0 else FARTHEST
        if not re.fullmatch(r"u?int(8|16|32)", self.dtype.lower()):
            return least, most
        kind = np.iinfo(self.dtype.lower())
        return max(least, -int(-kind.min // self.resolution)), min(most, int(kind.max // self.resolution))

    @property
    def description(self) -> str:
        return "a number"

    def _codes_without_gaps(self, distinct: pd.Series) -> Codes:
        if not self._plainly:
            distinct = plain_numbers(distinct.astype(str), self.prefix, self.suffix, self.thousands, self.point)
        numbers = pd.to_numeric(distinct, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        if self.dtype.startswith("timedelta64"):
            texts = pd.to_timedelta(distinct.astype(str), errors="coerce") / pd.Timedelta(seconds=1)
            numbers = np.where(np.isnan(numbers), texts.to_numpy(dtype=np.float64), numbers)
        places = self.places(numbers)
        if self.logarithmic:  # other numbers are read, but no model gives them a mass
            places[numbers <= 0] = self.possible[0] - 1
        readable = np.abs(places) < 2.0**62  # not where NaN
        codes = np.full(len(numbers), UNREADABLE, dtype=np.int64)
        codes[readable] = np.rint(places[readable]).astype(np.int64)
        return codes

    @property
    def _whole(self) -> bool:
        """True for whole numbers of 64 bits."""
        return (
            not self.logarithmic
            and self.resolution == int(self.resolution)
            and max(map(abs, self.span)) * self.resolution < 2**63
        )

    @property
    def _extreme(self) -> bool:
        """True for numbers that are written as powers of ten: those of a grid beyond the digits of a float."""
        return self.logarithmic or not SMALL <= self.resolution <= LARGE

    def _values(self, codes: Codes) -> pd.Series:
        if self._whole:
            numbers: Any = codes * int(self.resolution)
        elif self._extreme:
            numbers = self._plain(codes).astype(float)
        else:
            numbers = np.round(codes * self.resolution, self.decimals)
        if self.dtype in ("str", "object") or not self._plainly:
            return pd.Series(self._text(codes), dtype=object).astype(str)
        if self.dtype.startswith("timedelta64"):
            return _cast(pd.Series(pd.to_timedelta(numbers, unit="s")), self.dtype)
        return _cast(pd.Series(numbers), self.dtype if self.dtype[0] in "iufIUF" else str(numbers.dtype))

    def _text(self, codes: Codes) -> npt.NDArray[Any]:
        full = self._plain(codes)
        if self._plainly:
            return full
        return np.array([self._signed(number) for number in full], dtype=object)

    def _signed(self, number: str) -> str:
        """A number with its sign in front, groups of digits and units."""
        minus, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
        whole, point, rest = digits.partition(".")
        if self.thousands:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        return f"{minus}{self.prefix}{whole}{point and self.point}{rest}{self.suffix}"

    def _plain(self, codes: Codes) -> npt.NDArray[Any]:
        if self.decimals == 0 and self._whole:
            return (codes * int(self.resolution)).astype(str).astype(object)
        numbers = self.quantities(codes).tolist()
        if self._extreme:
            digits = 2 + math.ceil(-math.log10(self.resolution)) if self.logarithmic else 12
            return np.array([f"{number:.{digits}g}" for number in numbers], dtype=object)
        full = [f"{number:.{self.decimals}f}" for number in numbers]
        if (free := self.decimals - self.least) > 0:
            full = [(word[:-free] + word[-free:].rstrip("0")).rstrip(".") for word in full]
        return np.array(full, dtype=object)


POWERS = (-307, 308)
"""The least and the greatest power of ten that a float holds in full."""
SMALL, LARGE = 1e-12, 1e12
"""The ends of the grids whose numbers are written without a power of ten."""
DAY = 86400.0
"""Seconds of a day."""
ISO = r"\d{4}-\d\d-\d\d"
"""The beginning of a time as ISO 8601 writes it."""
_ZONE = re.compile(r"[+-]\d\d:?\d\d$")
"""The end of a format of times in one zone: their distance from UTC."""


def _offset(zone: str) -> pd.Timedelta:
    """The time from UTC to a zone such as ``+02:00``."""
    minutes = 60 * int(zone[1:3]) + int(zone[-2:])
    return pd.Timedelta(minutes=-minutes if zone[0] == "-" else minutes)


def plain_numbers(text: pd.Series, prefix: str, suffix: str, thousands: str, point: str = ".") -> pd.Series:
    """Texts such as ``-$1,200`` or ``12 kg`` as plain numbers. Those with other signs stay as they are."""
    before, after = re.escape(prefix), re.escape(suffix)
    parts = text.str.extract(rf"^(-?){before}(-?)(.+?){after}$")
    bare = parts[0].fillna("") + parts[1].fillna("") + parts[2].fillna("nothing")
    bare = bare.str.replace(thousands, "", regex=False) if thousands else bare
    return bare if point == "." else bare.str.replace(".", "?", regex=False).str.replace(point, ".", regex=False)


@final
@dataclass(frozen=True)
class DateTime(Graded):
    """A date or a time: code ``k`` is ``resolution * k`` seconds after 1970-01-01 UTC.

    Attributes:
        format: as the file writes it, in the letters of ``strftime``, or ``epoch s``, ``epoch ms``, ``epoch us``. A
            time in a zone ends in its distance from UTC, as in ``%H:%M+02:00``.
        others: further formats of the column, each with the share of times that have it.
    """

    format: str = "%Y-%m-%d"
    others: tuple[tuple[str, float], ...] = ()

    @property
    def possible(self) -> tuple[int, int]:
        """No time is outside of what its format can write, and every dtype of times can hold."""
        full = self.format in EPOCHS or "%Y" in self.format
        first, last = YEARS if full else TWO_DIGITS if "%y" in self.format else CLOCK
        return math.ceil(first / self.resolution), math.floor(last / self.resolution)

    @property
    def description(self) -> str:
        return f"a time like {self.format}"

    @property
    def _frequency(self) -> str:
        """The frequency of periods, as pandas writes it."""
        return self.dtype[len("period[") : -1]

    @property
    def _step(self) -> int:
        """Microseconds from one code to the next."""
        return max(round(self.resolution * 1e6), 1)

    def _codes_without_gaps(self, distinct: pd.Series) -> Codes:
        times = self.times(distinct, self.format)
        for form, _ in self.others:
            times = times.fillna(self.times(distinct, form))
        if self.dtype.startswith("period["):
            times = times.fillna(pd.Series([_start(str(value), self._frequency) for value in distinct]))
        if times.isna().any() and self.format not in EPOCHS:
            texts = distinct.astype(str)
            form = ISO if self.resolution >= DAY else ISO + r"[T ]\d"  # a day alone is none of its moments
            plain = texts.where(texts.str.match(form))  # other tools write times in this way, which has one meaning
            times = times.fillna(pd.to_datetime(plain, format="ISO8601", errors="coerce", utc=True).dt.tz_convert(None))
        ticks = times.to_numpy(dtype="datetime64[us]").astype(np.int64)
        return np.where(times.isna().to_numpy(), UNREADABLE, (ticks + self._step // 2) // self._step)

    @staticmethod
    def times(distinct: pd.Series, form: str) -> pd.Series:
        """Values as times in UTC. NaT for those that are not written in a format."""
        if distinct.dtype.kind == "M":
            return distinct if getattr(distinct.dt, "tz", None) is None else distinct.dt.tz_convert(None)
        if form in EPOCHS:
            numbers = pd.to_numeric(distinct, errors="coerce") * (1_000_000 // EPOCHS[form])
            return pd.Series(numbers.to_numpy(np.float64, na_value=np.nan)).astype("datetime64[us]")
        text = distinct.astype(str)
        if (zone := _ZONE.search(form)) is not None:
            local = text.str.removesuffix(zone[0]).where(text.str.endswith(zone[0]))
            return DateTime.times(local.fillna(""), form[: zone.start()]) - _offset(zone[0])
        times = pd.to_datetime(text, format=form.replace("%-", "%"), errors="coerce", utc="%z" in form)
        return times.dt.tz_convert(None) if "%z" in form else times

    def times_of(self, codes: Codes) -> pd.Series:
        """The times of codes, in UTC."""
        return pd.Series((codes * self._step).astype("datetime64[us]"))

    def _values(self, codes: Codes) -> pd.Series:
        times = self.times_of(codes)
        if self.dtype.startswith("datetime64") and "," in self.dtype:
            return _cast(times.dt.tz_localize("UTC"), self.dtype)
        if self.dtype.startswith(("datetime64", "date32", "timestamp")):
            return _cast(times, self.dtype)
        if self.dtype.startswith("period["):
            return times.dt.to_period(self._frequency)
        text = pd.Series(self._text(codes), dtype=object)
        return _cast(text, self.dtype if self.dtype[0] in "iufIUF" else "str")

    def _text(self, codes: Codes) -> npt.NDArray[Any]:
        if self.format in EPOCHS:
            return (codes * self._step // (1_000_000 // EPOCHS[self.format])).astype(str).astype(object)
        words = self._in_format(codes, self.format)
        u = (codes.astype(np.uint64) * MIXING >> np.uint64(11)) / 2.0**53
        shares = np.cumsum([share for _, share in self.others])
        for (form, share), end in zip(self.others, shares, strict=True):  # by the time: a sample has one format
            rows = (u >= end - share) & (u < end)
            words[rows] = self._in_format(codes[rows], form)
        return words

    def _in_format(self, codes: Codes, form: str) -> npt.NDArray[Any]:
        """Times in one format."""
        times, zone = self.times_of(codes), _ZONE.search(form)
        if zone is not None:
            return ((times + _offset(zone[0])).dt.strftime(form[: zone.start()]) + zone[0]).to_numpy(dtype=object)
        times = times.dt.tz_localize("UTC") if "%z" in form else times
        return times.dt.strftime(form).to_numpy(dtype=object)


@dataclass(frozen=True)
class Unmodelled(Column, ABC):
    """A column that models do not see: all of its values have the code 0."""

    @property
    def blank(self) -> int:
        return 0

    def read(self, distinct: pd.Series) -> Codes:
        return np.zeros(len(distinct), dtype=np.int64)


@final
@dataclass(frozen=True)
class Identifier(Unmodelled):
    """A value that names its row: it is not modelled, and samples get fresh ones.

    Attributes:
        pattern: what a fresh one looks like: ``{}`` stands for its number. ``uuid``, ``ipv4`` or a format such as
            ``[0-9a-f]{8}`` alone is a text of this format (:mod:`fourfold.spaces.formats`).
        width: digits of the number, at least. Zeros fill them up.
        first: the number of the first fresh one.
    """

    pattern: str = "{}"
    width: int = 0
    first: int = 1

    def text(self, codes: Codes) -> pd.Series:
        numbers = range(self.first, self.first + len(codes))
        if is_format(self.pattern):
            words = numbered_texts(self.pattern, numbers, self.name)
        else:
            before, _, after = self.pattern.partition("{}")
            words = [f"{before}{number:0{self.width}d}{after}" for number in numbers]
        return pd.Series(words, dtype=object)

    def values(self, codes: Codes) -> pd.Series:
        if self.dtype[0] not in "iuIU":
            return _cast(self.text(codes), "str")
        numbers = self.text(codes).map(int)
        return _cast(numbers, self.dtype if numbers.max() <= np.iinfo(self.dtype.lower()).max else "int64")


@final
@dataclass(frozen=True)
class Constant(Column):
    """A column that holds one value everywhere, or none: it is not modelled, and given back.

    Attributes:
        value: its text. ``None``: the column is empty.
    """

    value: str | None = None

    @property
    def blank(self) -> int:
        return 0 if self.value is None else UNSEEN

    def read(self, distinct: pd.Series) -> Codes:
        same = distinct.astype(str).str.strip() == (self.value or "")
        return np.where(same, 0, UNSEEN).astype(np.int64)

    def text(self, codes: Codes) -> pd.Series:
        return pd.Series([self.value or ""] * len(codes), dtype=object)

    def values(self, codes: Codes) -> pd.Series:
        if self.value is None:
            return _cast(
                pd.Series([None] * len(codes), dtype=object), self.dtype if self.dtype[0] in "fF" else "object"
            )
        if self.dtype == "bool":
            return pd.Series([self.value.lower() == "true"] * len(codes), dtype=bool)
        return _cast(pd.Series([self.value] * len(codes), dtype=object), self.dtype)


@final
@dataclass(frozen=True)
class FreeText(Unmodelled):
    """Names, notes and other texts: no part of the likelihood. Samples get new ones, letter by letter.

    Attributes:
        spelling: draws them. ``None``: samples have them empty, or by the writer.
        source: the column whose category a text is drawn given, or ``None``.
        distinct: whether no two rows of the data have one text. Then samples of one table do not either.
        writer: draws them given the whole row, in place of the spelling.
    """

    spelling: Spelling | None = None
    source: str | None = None
    distinct: bool = False
    writer: TextWriter | None = None

    def written(self, seeds: Codes, rows: pd.DataFrame) -> pd.Series:
        """Texts of rows by their seeds, given the values of the modelled columns as texts."""
        assert self.writer is not None, "the table asks for it"
        texts = np.array(self.writer.texts(self.name, rows, seeds.tolist()), dtype=object)
        for k in range(REWRITES if self.distinct else 0):
            twice = _repeated(texts)
            other = (seeds[twice] + k + 1).tolist()
            texts[twice] = self.writer.texts(self.name, rows[twice], other) if other else []
        if self.distinct:
            texts[_repeated(texts)] = ""
        return pd.Series(texts, dtype=object)

    def drawn(self, seeds: Codes, levels: Codes | None) -> pd.Series:
        """Texts of rows by their seeds, given the codes of :attr:`source`, if it has one."""
        if self.spelling is None:
            return self.text(seeds)
        levels_of = [None] * len(seeds) if levels is None else [int(k) if k >= 0 else None for k in levels]
        earlier, words = set[str](), []
        for seed, level in zip(seeds.tolist(), levels_of, strict=True):
            tries = (self.spelling.draw(seed + k, level) for k in range(REDRAWS))
            words.append(next((text for text in tries if not text or text not in earlier), ""))
            if self.distinct:
                earlier.add(words[-1])
        return pd.Series(words, dtype=object)

    def text(self, codes: Codes) -> pd.Series:
        return pd.Series([""] * len(codes), dtype=object)

    def values(self, codes: Codes) -> pd.Series:
        return _cast(pd.Series([None] * len(codes), dtype=object), "str")


def _repeated(texts: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which texts an earlier row has."""
    repeated: npt.NDArray[np.bool_] = pd.Series(texts, dtype=object).duplicated().to_numpy() & (texts != "")
    return repeated


def _start(text: str, frequency: str) -> Any:
    """The first moment of a period such as ``2020Q1``, or of a week as its first and last days. NaT for other texts."""
    try:
        return pd.Period(text.partition("/")[0], freq=frequency).to_timestamp()
    except ValueError:
        return pd.NaT


def _cast(values: pd.Series, dtype: Any) -> pd.Series:
    """Values of another dtype, by its name."""
    cast: pd.Series = values.astype(dtype)
    return cast


def _with_gaps(dtype: str) -> str:
    """The dtype of such values if some of them are missing."""
    if dtype == "bool":
        return "boolean"
    return dtype.replace("uint", "UInt").replace("int", "Int") if dtype.startswith(("int", "uint")) else dtype
