"""The schema of a table: what each column is, inferred with a reason in words, or read from a file."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute

from fourfold.data.dataset import DataError, option
from fourfold.data.labels import alike
from fourfold.printable import shortened
from fourfold.spaces.columns import EPOCHS, Categorical, Column, Constant, DateTime, Graded, Identifier, Numeric

__all__ = ["Coded", "Hint", "Inferred", "as_numbers", "infer", "read_schema", "schema_text"]

GAPS = frozenset({"", "NA", "N/A", "n/a", "na", "NaN", "nan", "null", "NULL", "Null", "None", "none", "NONE", "?"})
GAPS |= {"<NA>", "#N/A", "NaT"}
"""Texts that mean a missing value in any column."""
NUMBER_GAPS = frozenset({"-", "--", "."})
"""Texts that mean a missing value among numbers and times."""
FEW = 10
"""A column of so few different numbers is a category."""
CODES = 100
"""A column of so few different whole numbers is a category if their frequencies jump, as those of codes do."""
DIGITS = 7
"""Numbers of more significant digits have a resolution coarser than their last digit."""
NOISE = 9
"""Numbers with more digits behind the point owe them to the arithmetic of floats, if they are rare."""
UNIQUE = 0.95
"""A column of words of which at least this share differ names its rows."""
ODD = 0.05
"""If at most this share of the cells of a column of numbers or times are something else, they are mistakes."""

Hint = Mapping[str, Any]
"""What a schema file says of one column."""


@dataclass(frozen=True)
class Coded:
    """A column as it was read: its distinct values, and the number of the one that each row holds.

    Attributes:
        name: of the column.
        codes: ``(N,)``, -1 where a data frame or a database has no value.
        distinct: texts of a file, or values of a type.
        dtype: of the values in a data frame; ``None`` for a file of text, which has no types.
        where: the file, for messages.
        rows: the place of each row in its file, from 0, where only some rows were read.
        padded: whether blanks around texts were taken away.
    """

    name: str
    codes: npt.NDArray[np.int32]
    distinct: pd.Series
    dtype: str | None = None
    where: str = ""
    rows: npt.NDArray[np.int64] | None = None
    padded: bool = False

    def place(self, chosen: npt.NDArray[np.bool_]) -> str:
        """The first row that holds one of the chosen distinct values, and the value."""
        row = int(np.append(chosen, False)[self.codes].argmax())
        value = str(self.distinct.iloc[self.codes[row]])[:40]
        return f"{value!r} in row {1 + (row if self.rows is None else int(self.rows[row]))}"


@dataclass(frozen=True)
class Inferred:
    """What a column is, and why.

    Attributes:
        column: the column.
        kind: its name in a schema file.
        detail: its values, in short.
        reason: why it is of this kind, as a clause.
        missing: the share of rows without a value.
    """

    column: Column
    kind: str
    detail: str
    reason: str
    missing: float = 0.0

    def record(self) -> dict[str, Any]:
        """The same as a JSON value."""
        about = {"name": self.column.name, "kind": self.kind, "values": self.detail, "why": self.reason}
        return {**about, "missing": self.missing, "dtype": self.column.dtype}


@dataclass(frozen=True)
class _Values:
    """The values of a column that are there: texts, each with the number of its rows."""

    coded: Coded
    text: pd.Series
    counts: npt.NDArray[np.int64]
    gaps: tuple[str, ...]
    gone: int
    told: tuple[str, ...]
    hint: Hint

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def missing(self) -> bool:
        return self.gone > 0 or "missing" in self.hint

    @property
    def share(self) -> float:
        return self.gone / max(self.rows + self.gone, 1)

    def column(self, kind: Callable[..., Column], dtype: str, **fields: Any) -> Any:
        """A column of a kind, with the name, gaps and dtype of these values."""
        own = dict(self.hint)
        own = {key: own[key] for key in own.keys() & {"ordered", "dtype"} if key == "dtype" or kind is Categorical}
        modelled = {} if kind in (Identifier, Constant) else {"missing": self.missing, "gaps": self.gaps}
        return kind(**{"name": self.coded.name, "dtype": self.coded.dtype or dtype, **modelled, **fields, **own})


def infer(coded: Coded, hint: Hint | None = None) -> Inferred:
    """What a column is.

    A column is, in this order: empty or constant; true and false; numbers; times; an identifier, if nearly every value
    differs; or a category. Numbers are a category if at most ten differ, or if they are whole, at most a hundred
    differ, and their frequencies jump from one to the next, as those of codes do; and an identifier if each occurs once
    and they count up or their name says so. At most five cells in a hundred that are something else are mistakes.

    Args:
        coded: the column as it was read.
        hint: what a schema file says of it; the rest is inferred.

    Raises:
        DataError: for mistakes among numbers or times, or a hint that the values contradict; with row and way out.
    """
    values = _values(coded, hint or {})
    kind = values.hint.get("kind")
    builders: dict[str, Callable[[_Values], Inferred | None]] = {
        "constant": _constant,
        "category": _category,
        "number": _number,
        "time": _time,
        "identifier": _identifier,
    }
    if kind is not None:
        found = builders[kind](values)
        if found is None:
            raise DataError(
                f"{coded.where}, column {coded.name}: cannot be a {kind}: choose another kind in the schema"
            )
        told = "the schema says so" + "".join(f"; {part}" for part in found.reason.split("; ")[1:])
        return dataclasses.replace(found, reason=told)
    order = (_constant, _boolean, _own_levels, _number, _time, _identifier, _category)
    found = next(found for build in order if (found := build(values)) is not None)
    return found


def _gaps(text: pd.Series, hint: Hint) -> npt.NDArray[np.bool_]:
    """Which texts mean a missing value; dashes and points do among numbers alone."""
    if "missing" in hint:
        return text.isin(hint["missing"]).to_numpy(dtype=bool)
    gap = text.isin(GAPS | NUMBER_GAPS).to_numpy(dtype=bool, copy=True)
    dashes = text[gap].isin(NUMBER_GAPS).to_numpy(dtype=bool)
    if dashes.any() and not gap.all() and np.isnan(as_numbers(text[~gap])).mean() > 0.1:
        gap[gap] = ~dashes
    return gap


def as_numbers(text: pd.Series) -> npt.NDArray[np.float64]:
    """Texts as numbers, NaN where one is none."""
    try:
        found = pyarrow.compute.cast(pyarrow.array(text, pyarrow.string()), pyarrow.float64())
        return found.to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        return pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _values(coded: Coded, hint: Hint) -> _Values:
    """The values of a column without its gaps."""
    counts = np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.distinct)).astype(np.int64)
    typed = coded.dtype is not None and not pd.api.types.is_string_dtype(coded.distinct.dtype)
    text = coded.distinct.astype(str)
    gap = _gaps(text, hint) & (counts > 0)
    held = ~gap & (counts > 0)
    gone = len(coded.codes) - int(counts[held].sum())
    found = text[gap].iloc[(-counts[gap]).argsort(kind="stable")] if gap.any() and not typed else ()
    gaps = tuple(map(str, hint.get("missing") or dict.fromkeys(found))) or ("",)
    told = (f"{shortened(map(repr, gaps), 4)} is missing",) if gone and gaps != ("",) else ()
    text, counts = text[held], counts[held]
    if coded.padded and text.duplicated().any():  # blanks around a word do not make another word
        joined = pd.Series(counts, index=text).groupby(level=0).sum()
        text, counts = pd.Series(joined.index.astype(str)), joined.to_numpy()
    return _Values(coded, text.reset_index(drop=True), counts, gaps, gone, told, hint)


# --- kinds ------------------------------------------------------------------------------------------------------------


def _constant(values: _Values) -> Inferred | None:
    name = values.coded.name
    if not len(values.text):
        only = next((gap for gap in values.gaps if gap), None)
        dtype = values.coded.dtype or ("object" if only is None else "str")
        return Inferred(Constant(name, dtype, only), "constant", "empty", "no row has a value", 1.0)
    if len(values.text) > 1 or values.gone or "levels" in values.hint:
        return None
    value = str(values.text.iloc[0])
    dtype = _plain_dtype(values.text)
    column = values.column(Constant, dtype, value=value)
    return Inferred(column, "constant", repr(value), "every row has this value")


def _plain_dtype(text: pd.Series) -> str:
    """The dtype that pandas gives texts: whole numbers, numbers, or words."""
    if np.isnan(as_numbers(text)).any() or text.str.match(r"[+-]?0\d").any():
        return "str"
    return "int64" if text.str.fullmatch(r"[+-]?\d{1,18}").all() else "float64"


def _boolean(values: _Values) -> Inferred | None:
    if len(values.text) > 2 or set(values.text.str.lower()) != {"true", "false"}:
        return None
    levels = tuple(sorted(values.text, key=str.lower))
    return _inferred(values, values.column(Categorical, "bool", levels=levels), "category", "true and false")


def _own_levels(values: _Values) -> Inferred | None:
    """The levels that a data frame or a schema file says."""
    if "levels" in values.hint or values.coded.dtype == "category":
        return _category(values)
    return None


def _category(values: _Values) -> Inferred:
    numbers = as_numbers(values.text)
    if "levels" in values.hint:
        levels = tuple(values.hint["levels"])
    elif np.isnan(numbers).any():
        levels = tuple(sorted(values.text))
    else:
        _, first = np.unique(numbers, return_index=True)  # 0 and -0.0 are one level
        levels = tuple(values.text.iloc[first])
    dtype = "bool" if {level.lower() for level in levels} == {"true", "false"} else _plain_dtype(values.text)
    rare = int((values.counts < 10).sum()) if len(levels) == len(values.counts) else 0
    told = ["words that occur again" if dtype in ("str", "bool") else f"{len(levels):,} different numbers"]
    told += [f"{rare:,} of them in fewer than 10 rows"] if rare and values.rows > 100 else []
    told += _amounts(values.text)
    column = values.column(Categorical, dtype, levels=levels, ordered=dtype not in ("str", "bool"))
    return _inferred(values, column, "category", "; ".join(told))


def _number(values: _Values) -> Inferred | None:
    numbers = as_numbers(values.text)
    asked = values.hint.get("kind") == "number"
    if not asked and _epoch(values.coded.name, numbers) is not None:
        return None
    leading = values.text.str.match(r"[+-]?0\d").any()
    if not len(numbers) or (not asked and (leading or not _most(values, ~np.isnan(numbers), "a number"))):
        return None
    if asked:
        _refuse(values, np.isnan(numbers), "a number")
    _refuse(values, np.isinf(numbers), "a finite number")
    whole = bool((numbers == np.round(numbers)).all())
    if whole and np.abs(numbers).max() >= 2**53 and not asked:
        return None  # codes of many digits: no float tells them apart
    order = numbers.argsort(kind="stable")
    numbers, counts = numbers[order], values.counts[order]
    if not asked:
        if whole and (found := _counting(values, numbers)) is not None:
            return found
        if (reason := _codes(numbers, counts, whole)) is not None:
            return dataclasses.replace(_category(values), reason="; ".join([reason, *values.told]))
    return _quantity(values, numbers, counts, whole)


def _quantity(values: _Values, numbers: npt.NDArray[Any], counts: npt.NDArray[Any], whole: bool) -> Inferred:
    """Numbers at a resolution."""
    digits, least, exact = _decimals(values, numbers, counts)
    told = []
    if "resolution" in values.hint:
        resolution = float(values.hint["resolution"])
    elif exact:
        scaled = np.rint(numbers * 10.0**digits)
        step = int(np.gcd.reduce(scaled.astype(np.int64))) if np.abs(scaled).max() < 2**62 else 1
        resolution = max(step, 1) / 10.0**digits
    else:
        resolution = _coarse(numbers, counts)
        most, digits = digits, max(0, round(-math.log10(resolution)))
        least = min(least, digits)
        told.append(f"kept to {resolution:g}, since {most} decimals are finer than a model can learn")
    digits = int(values.hint.get("decimals", max(digits, _needed(resolution))))
    least = min(int(values.hint.get("least", least)), digits)
    plain = "int64" if whole and digits == 0 and values.coded.dtype is None else "float64"
    cells = np.rint(numbers[[0, -1]] / resolution).astype(np.int64)
    column = values.column(
        Numeric, plain, resolution=resolution, low=int(cells[0]), high=int(cells[1]), decimals=digits, least=least
    )
    kind = "whole numbers" if whole and resolution == 1 else f"multiples of {resolution:g}"
    return _inferred(values, column, "number", "; ".join([kind, *told, *_shape(numbers, counts)]))


def _most(values: _Values, right: npt.NDArray[np.bool_], what: str) -> bool:
    """Whether all cells are right; few wrong ones among many are refused."""
    wrong = int(values.counts[~right].sum())
    if wrong and wrong <= ODD * values.rows:
        _refuse(values, ~right, what)
    return wrong == 0


def _refuse(values: _Values, wrong: npt.NDArray[np.bool_], what: str) -> None:
    """Refuse values that are wrong, with the first row that has one."""
    if wrong.any():
        coded = values.coded
        words = values.text[wrong]
        texts = coded.distinct.astype(str)
        name, first = _key(coded.name), json.dumps(str(words.iloc[0])[:40], ensure_ascii=False)
        raise DataError(
            f"{coded.where}, column {coded.name}: {coded.place(texts.isin(words).to_numpy(dtype=bool))} is not {what}: "
            f"correct it, or give {option('schema')} a file that says what it is: [{name}] missing = [{first}], "
            f'or [{name}] kind = "category"'
        )


NAMED = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|rownames|row|no|nr)$|[a-z](Id|ID)$", re.IGNORECASE)
"""Names of columns that number their rows."""


def _counting(values: _Values, numbers: npt.NDArray[Any]) -> Inferred | None:
    """Whole numbers that number the rows: each occurs once, and they count up, or their name says so."""
    if values.rows < 20 or len(numbers) < values.rows:
        return None
    name = values.coded.name
    named = NAMED.search(name) is not None or re.fullmatch(r"Unnamed: \d+|", name) is not None
    years = numbers[0] >= 1500 and numbers[-1] <= 2200
    if not named and (years or numbers[-1] - numbers[0] != len(numbers) - 1):
        return None
    reason = "each number occurs once, " + ("and the name says so" if named else "and they count up")
    return _fresh(values, "int64", "{}", 0, int(numbers[-1]) + 1, reason)


def _codes(numbers: npt.NDArray[Any], counts: npt.NDArray[Any], whole: bool) -> str | None:
    """Why numbers are a category, if they are: few, or whole with frequencies that jump."""
    if len(numbers) <= min(FEW, counts.sum() / 5):
        return f"only {len(numbers)} different numbers"
    if not whole or len(numbers) > CODES or numbers[-1] - numbers[0] > 4 * len(numbers):
        return None
    dense = np.zeros(int(numbers[-1] - numbers[0]) + 1)
    dense[(numbers - numbers[0]).astype(int)] = counts
    dense[dense.argmax()] = 0
    jumps = np.abs(np.diff(dense))
    clear = jumps[jumps > 3 * np.sqrt(dense[1:] + dense[:-1])].sum()
    if clear <= 4 * dense.max():
        return None
    return f"{len(numbers)} whole numbers whose frequencies jump, as those of codes do"


def _decimals(values: _Values, numbers: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[int, int, bool]:
    """The most and the fewest digits behind the point, and whether the last of them is a resolution to keep."""
    text = pyarrow.array(values.text.to_numpy(dtype=object), pyarrow.string())
    point = pyarrow.compute.find_substring(text, ".").to_numpy()
    digits = np.where(point < 0, 0, pyarrow.compute.utf8_length(text).to_numpy() - point - 1)
    power = pyarrow.compute.match_substring_regex(text, "[eE]").to_numpy(zero_copy_only=False)
    digits = np.where(power, 15, digits)
    noise = digits > NOISE  # 0.30000000000000004 among 0.1 and 0.2 says nothing of their resolution
    rare = values.counts[noise].sum() <= 0.01 * values.rows
    usual = int(digits[~noise].max() if rare else digits.max())
    before = math.floor(math.log10(max(abs(_quantile(numbers, counts, 0.9)), abs(_quantile(numbers, counts, 0.1)), 1)))
    exact = usual == 0 or usual + before + 1 <= DIGITS
    return usual, int(digits[~power].min(initial=usual)), exact


def _needed(resolution: float) -> int:
    """Digits behind the point that multiples of a resolution need."""
    return next((digits for digits in range(12) if abs(round(resolution, digits) - resolution) < 1e-9 * resolution), 12)


def _coarse(numbers: npt.NDArray[Any], counts: npt.NDArray[Any]) -> float:
    """A power of ten that cuts the middle four fifths of the values into 1,000 cells or more."""
    low, high = (_quantile(numbers, counts, share) for share in (0.1, 0.9))
    spread = high - low or float(numbers[-1] - numbers[0])
    return float(f"1e{math.floor(math.log10(spread / 1000))}")


def _quantile(numbers: npt.NDArray[Any], counts: npt.NDArray[Any], share: float) -> float:
    """The quantile of sorted numbers, each with its count."""
    up_to = counts.cumsum()
    return float(numbers[min(int(np.searchsorted(up_to, share * up_to[-1])), len(numbers) - 1)])


def _shape(numbers: npt.NDArray[Any], counts: npt.NDArray[Any]) -> list[str]:
    """Remarks on how numbers are distributed: one that is frequent, a long tail."""
    mode = int(counts.argmax())
    told = []
    if counts[mode] > 0.2 * counts.sum():
        told.append(f"{100 * counts[mode] / counts.sum():.0f} % are {numbers[mode]:g}")
    middle, high = (_quantile(numbers, counts, share) for share in (0.5, 0.99))
    tail = max(numbers[-1] - high, 0) > 2 * max(high - middle, 0) and numbers[-1] > high
    return [*told, *(["a long tail"] if tail else [])]


# --- times and identifiers --------------------------------------------------------------------------------------------

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y")
_MORE = ("%d.%m.%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y.%m.%d")
_HOURS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
_ZONES = ("", "Z", "%z")
FORMATS = (
    *_DAYS,
    *_MORE,
    *(f"{day}{gap}{hour}{zone}" for day in _DAYS + _MORE for gap in " T" for hour in _HOURS for zone in _ZONES),
    *_HOURS[:3],
    "%Y-%m",
    "%Y%m%d",
)
"""Formats of times, tried in this order."""
AS_TIME = re.compile(r"(time|date|epoch|stamp|created|updated)|_at$|^ts$", re.IGNORECASE)
"""Names of columns whose numbers may be seconds since 1970."""


def _time(values: _Values) -> Inferred | None:
    if values.coded.distinct.dtype.kind == "M":
        written = "%Y-%m-%d" if _date_only(values.coded.distinct) else "%Y-%m-%d %H:%M:%S"
        return _times(values, values.coded.distinct, written, "the data holds times")
    found = values.hint.get("format") or _format(values)
    if found is None:
        return None
    form = str(found)
    times = DateTime.times(values.text, form)
    if "format" in values.hint or values.hint.get("kind") == "time":
        _refuse(values, times.isna().to_numpy(), f"a time like {form}")
    elif not _most(values, times.notna().to_numpy(), f"a time like {form}"):
        return None
    few = values.text.iloc[:: max(len(values.text) // 500, 1)].reset_index(drop=True)
    bare = re.sub(r"%([dmHI])", r"%-\1", form)  # 1/2/2020, without zeros
    columns = [_times(values, times, written, "").column for written in (form, bare)]
    exact = [bool((column.text(column.read(few)) == few).all()) for column in columns]
    form = bare if exact == [False, True] else form
    reason = f"written like {form}"
    other = form.translate(str.maketrans("dm", "md"))
    if "%d" in form and other in FORMATS and other != form and DateTime.times(values.text, other).notna().all():
        reason += f"; the month could come first: write format = {other!r} into a schema if so"
    return _times(values, times, form, reason)


def _date_only(times: pd.Series) -> bool:
    return bool((times == times.dt.normalize()).all())


def _format(values: _Values) -> str | None:
    """The first format that a few values are written in, then all but a few."""
    text, name = values.text, values.coded.name
    numbers = as_numbers(text)
    if (epoch := _epoch("time" if values.hint.get("kind") == "time" else name, numbers)) is not None:
        return epoch
    few = text.iloc[np.linspace(0, len(text) - 1, min(len(text), 50)).astype(int)] if len(text) else text
    if not len(few) or few.str.contains(r"\d").mean() < 0.9 or few.str.len().max() > 40:
        return None
    if not np.isnan(numbers).any() and not AS_TIME.search(name):
        return None
    marks = _marks(few.iloc[0])
    for form in FORMATS:
        if not (marks.startswith(_marks(form)) if "%z" in form else marks == _marks(form)):
            continue
        if DateTime.times(few, form).notna().mean() >= 0.9:
            times = DateTime.times(text, form)
            if values.counts[times.notna().to_numpy()].sum() >= (1 - ODD) * values.rows:
                return form
    return None


def _epoch(name: str, numbers: npt.NDArray[np.float64]) -> str | None:
    """The unit of numbers that are seconds, or parts of them, from 2000 to 2050, if their name is one of times."""
    if AS_TIME.search(name) is None or not len(numbers):
        return None
    low, high = numbers.min(), numbers.max()
    return next((form for form, unit in EPOCHS.items() if low >= 946684800 * unit and high <= 2524608000 * unit), None)


def _marks(text: str) -> str:
    """What stands between letters and digits."""
    return re.sub(r"%-?\w|\w", "", text)


def _times(values: _Values, times: pd.Series, form: str, reason: str) -> Inferred:
    """Times at the coarsest of day, hour, minute, second that tells them apart."""
    plain = times.dt.tz_convert(None) if getattr(times.dt, "tz", None) is not None else times
    ticks = plain.dropna().to_numpy(dtype="datetime64[us]").astype(np.int64)
    units = (86400, 3600, 60, 1, 0.001, 0.000001)
    resolution = values.hint.get("resolution") or next(unit for unit in units if not (ticks % round(unit * 1e6)).any())
    step = round(resolution * 1e6)
    low, high = ((int(tick) + step // 2) // step for tick in (ticks.min(), ticks.max()))
    dtype = "int64" if form in EPOCHS or form == "%Y%m%d" else "str"
    column = values.column(DateTime, dtype, resolution=float(resolution), low=low, high=high, format=form)
    word = {86400.0: "days", 3600: "hours", 60: "minutes", 1: "seconds"}.get(float(resolution), f"{resolution:g} s")
    return _inferred(values, column, "time", f"{reason}; {word}")


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _identifier(values: _Values) -> Inferred | None:
    text = values.text
    asked = values.hint.get("kind") == "identifier"
    if not asked and (values.rows < 20 or len(text) < UNIQUE * values.rows or values.coded.dtype == "category"):
        return None
    pattern, width, first = f"{values.coded.name} {{}}", 0, 1
    parts = text.str.extract(r"^(\D*)(\d{1,18})(\D*)$")
    if len(parts) and parts.notna().all(axis=None) and len(parts[[0, 2]].drop_duplicates()) == 1:
        lengths = parts[1].str.len()
        pattern = f"{parts[0].iloc[0]}{{}}{parts[2].iloc[0]}"
        width, first = (int(lengths.max()) if lengths.nunique() == 1 else 0), int(parts[1].astype("int64").max()) + 1
    elif len(text) and text.str.fullmatch(_UUID.pattern).all():
        pattern = "uuid"
    differ = "; ".join([f"{len(text):,} of {values.rows:,} values differ", *_amounts(text)])
    dtype = "int64" if pattern == "{}" and width == 0 else "str"
    return _fresh(values, dtype, values.hint.get("pattern", pattern), width, first, f"names its row: {differ}")


def _amounts(text: pd.Series) -> list[str]:
    """A remark on words that are amounts with a sign, such as ``$1,200.50`` or ``45 %``."""
    signed = text.str.contains(r"[$€£¥%]").all() and text.str.fullmatch(r"[$€£¥]?\s*-?[\d.,]+\s*[$€£¥%]?").all()
    return ["amounts with a sign are words: write plain numbers to have quantities"] if len(text) and signed else []


def _fresh(values: _Values, dtype: str, pattern: str, width: int, first: int, reason: str) -> Inferred:
    """A column that is not modelled: samples get fresh values."""
    column: Identifier = values.column(Identifier, dtype, pattern=pattern, width=width, first=first)
    if column.dtype[0] not in "iuIU" or pattern != "{}":
        column = dataclasses.replace(column, dtype="str" if values.coded.dtype is None else column.dtype)
    example = column.text(np.zeros(1, dtype=np.int64)).iloc[0]
    return Inferred(column, "identifier", f"fresh ones from {example}", f"{reason}; not modelled", values.share)


def _inferred(values: _Values, column: Column, kind: str, reason: str) -> Inferred:
    """The answer for a modelled column: its values in short, and the reason with what was told of gaps."""
    if isinstance(column, Categorical):
        detail = f"{len(column.levels):,} levels: {shortened(column.levels, 5, 60)}"
    else:
        assert isinstance(column, Graded)
        ends = column.text(np.array(column.span, dtype=np.int64))
        detail = f"{ends.iloc[0]} to {ends.iloc[1]}"
    return Inferred(column, kind, detail, "; ".join([reason, *values.told]), values.share)


# --- files ------------------------------------------------------------------------------------------------------------

KEYS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "number": {"resolution": (int, float), "decimals": int},
    "category": {"levels": list, "ordered": bool},
    "time": {"format": str, "resolution": (int, float)},
    "identifier": {"pattern": str},
    "constant": {},
}
"""What a schema file may say of each kind of column, beside ``missing``."""


def read_schema(path: Path | str) -> dict[str, Hint]:
    """What a schema file says of columns, by their names. Columns that it does not name are inferred.

    Raises:
        DataError: for a file that is not TOML, an unknown kind or key, or a value of another type.
    """
    path = Path(path).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): 'fourfold data' writes one") from None
    except ValueError as error:
        raise DataError(f"{path}: is not TOML: {error}") from None
    return {name: _checked(f"{path}, [{name}]", hint) for name, hint in content.items()}


def _checked(where: str, hint: Any) -> Hint:
    if not isinstance(hint, dict):
        raise DataError(f"{where}: is not a section: write what it says of a column below [name]")
    kind = hint.get("kind")
    if kind is not None and kind not in KEYS:
        raise DataError(f"{where}: unknown kind {kind!r}: choose {', '.join(KEYS)}")
    known: dict[str, Any] = {"kind": str, "missing": list}
    for one in [kind] if kind else KEYS:
        known |= KEYS[one]
    for key, value in hint.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            way = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"
            raise DataError(f"{where}: unknown key {key!r}: {way}")
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            raise DataError(f"{where}: {key} is {value!r}, which is of another type: see the file that is written")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise DataError(f"{where}: {key} is a list of texts: write each in quotation marks")
        if key == "resolution" and not value > 0:
            raise DataError(f"{where}: resolution {value} is not a positive number")
    if "levels" in hint and len(set(hint["levels"])) < max(len(hint["levels"]), 1):
        raise DataError(f"{where}: levels are empty, or one stands there twice: write each once")
    return hint


def schema_text(found: Sequence[Inferred], head: str) -> str:
    """The schema file of columns: it can be edited and read again."""
    lines = [f"# {head}"]
    for one in found:
        lines += ["", f"# {one.detail}: {one.reason}", f"[{_key(one.column.name)}]", f'kind = "{one.kind}"']
        for key in ("missing", *KEYS[one.kind]):
            value = getattr(one.column, "gaps", None) if getattr(one.column, "missing", False) else None
            value = getattr(one.column, key) if key != "missing" else value
            if value is not None and value is not False:
                lines.append(f"{key} = {_toml(value)}")
    return "\n".join(_plain(line) for line in lines) + "\n"


def _plain(line: str) -> str:
    """A comment in one line."""
    return " ".join(line.splitlines()) if line.startswith("#") else line


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        words = [_toml(one) for one in value]
        return f"[{', '.join(words)}]" if sum(map(len, words)) < 100 else "[\n  " + ",\n  ".join(words) + ",\n]"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def unknown_columns(where: str, hints: Iterable[str], names: Sequence[str]) -> None:
    """Refuse a schema that names a column which the table does not have."""
    for name in hints:
        if name not in names:
            raise DataError(f"{where}: has no column {name!r}, as the schema says: {alike(name, names)}")
