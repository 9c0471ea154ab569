"""Columns of times: the format they are written in, and their resolution."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from fourfold.data.errors import DataError
from fourfold.data.schema.tails import ends_of
from fourfold.data.schema.values import ODD, Inferred, Values, answer, as_numbers, refuse, without
from fourfold.machine.libraries import pandas as pd
from fourfold.spaces.columns import EPOCHS, DateTime

__all__ = ["are_days", "epoch", "time"]

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y")
_MORE = ("%d.%m.%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y.%m.%d")
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
ZONE = re.compile(r"( [A-Z][a-z]+/[A-Za-z_/]+| [A-Z]{3,4})$")
"""The name of a zone behind a time, such as ``Europe/Rome`` or ``CET``. It is kept as it stands."""
AS_TIME = re.compile(r"(time|date|epoch|stamp|created|updated)|_at$|^ts$", re.IGNORECASE)
"""Names of columns whose numbers may be seconds since 1970."""
DIGITS = "%Y%m%d"
"""A format that any number may have."""
DAYS = 8
"""Numbers of eight digits that are days, at least. Of those from 1900 to 2099, one in 27 is a day by chance."""


def time(values: Values) -> Inferred | None:
    times = values.coded.distinct
    if times.dtype.kind == "M":
        try:
            form = "%Y-%m-%d" if (times == times.dt.normalize()).all() else "%Y-%m-%d %H:%M:%S"
            beyond = not times.dropna().dt.year.between(1, 9999).all()
        except ValueError:
            beyond = True
        if beyond:
            raise DataError(
                f"{values.coded.where}, column {values.coded.name}: times must be of the years 1 to 9999, got others"
            )
        mask = (values.coded.counts > 0) & values.coded.distinct.notna().to_numpy()
        return _times(values, values.coded.distinct[mask], form, "the data holds times")
    layout = values.hint.get("format") or _format(values)
    if layout is None or ("%z" in str(layout) and "format" not in values.hint):
        several = _formats(values, None if layout is None else str(layout))
        if several or layout is None:
            return _in_formats(values, several) if several else None
    form = str(layout)
    times = DateTime.times(values.text, form)
    if "format" in values.hint or values.hint.get("kind") == "time":
        refuse(values, times.isna().to_numpy(), f"a time like {form}")
    values = without(values, times.isna().to_numpy(), f"a time like {form}")
    times = times[times.notna()].reset_index(drop=True)
    few = values.text.iloc[:: max(len(values.text) // 500, 1)].reset_index(drop=True)
    bare = re.sub(r"%([dmHI])", r"%-\1", form)  # 1/2/2020, without zeros
    columns = [_times(values, times, pattern, "").column for pattern in (form, bare)]
    exact = [bool((column.text(column.read(few)) == few).all()) for column in columns]
    form = bare if exact == [False, True] else form
    reason = f"written like {form}"
    swapped = form.translate(str.maketrans("dm", "md"))
    if "%d" in form and swapped in FORMATS and swapped != form and DateTime.times(values.text, swapped).notna().all():
        reason += f"; the month could come first: write format = {swapped!r} into a schema if so"
    return _times(values, times, form, reason)


SEVERAL = 6
"""Formats of one column, at most."""
LEAST = 0.01
"""The share of times that have a further format, at least."""
_OFFSET = re.compile(r"[+-]\d\d:?\d\d$")


def _formats(values: Values, zoned: str | None) -> tuple[tuple[str, float], ...]:
    """The formats of a column that has several, each with its share, or those of the zones of its times.

    Each further format is that of most times that have none of the formats before it.
    """
    text, shares = values.text, list[tuple[str, float]]()
    if not len(text) or text.str.contains(r"\d").mean() < 0.9 or text.str.len().max() > 40:
        return ()
    rest = np.ones(len(text), dtype=bool)
    while len(shares) < SEVERAL and values.counts[rest].sum() > LEAST * values.rows:
        part = text[rest].reset_index(drop=True)
        form, fits = _best(part, zoned)
        share = values.counts[rest][fits].sum() / values.rows
        if form is None or share < LEAST:
            break
        shares.append((form, float(share)))
        rest[np.flatnonzero(rest)[fits]] = False
    least = 1 if zoned else 2
    complete = values.counts[rest].sum() <= ODD * values.rows
    return tuple(sorted(shares, key=lambda pair: -pair[1])) if len(shares) >= least and complete else ()


def _best(text: pd.Series, zoned: str | None) -> tuple[str | None, npt.NDArray[np.bool_]]:
    """The format of most texts, and which have it. With ``%z``, that with the zone of most."""
    if zoned is not None:
        zones = text.str.extract(rf"({_OFFSET.pattern})")[0].dropna()
        forms = [zoned.replace("%z", str(zones.mode().iloc[0]))] if len(zones) else []
    else:
        few = text.iloc[np.linspace(0, len(text) - 1, min(len(text), 50)).astype(int)]
        marks = set(map(_marks, few))
        forms = [form for form in _forms(text) if "%z" not in form and _marks(form) in marks and form != DIGITS]
    fits = [(form, DateTime.times(text, form).notna().to_numpy()) for form in forms]
    return max(fits, key=lambda pair: int(pair[1].sum()), default=(None, np.zeros(len(text), dtype=bool)))


def _forms(text: pd.Series) -> Sequence[str]:
    """The formats that texts may have: those with the names of their zones, if all have one."""
    names = text.str.extract(ZONE)[0]
    if names.isna().any() or names.nunique() > SEVERAL:
        return FORMATS
    return [f"{form}{name}" for name in names.unique() for form in FORMATS if form.endswith(_HOURS)]


def _in_formats(values: Values, shares: tuple[tuple[str, float], ...]) -> Inferred:
    """Times of several formats or zones."""
    column = DateTime("", format=shares[0][0], others=shares[1:])
    times = DateTime.times(values.text, column.format)
    for form, _ in column.others:
        times = times.fillna(DateTime.times(values.text, form))
    values = without(values, times.isna().to_numpy(), f"a time like {column.format}")
    reason = "written like " + " or ".join(f"{form} ({share:.0%})" for form, share in shares)
    inferred = _times(values, times[times.notna()].reset_index(drop=True), column.format, reason)
    times_column = cast("DateTime", inferred.column)
    return dataclasses.replace(inferred, column=dataclasses.replace(times_column, others=column.others))


def _format(values: Values) -> str | None:
    """The first format that a few values are written in, then all but a few."""
    text, name = values.text, values.coded.name
    numbers = as_numbers(text)
    if (unit := epoch("time" if values.hint.get("kind") == "time" else name, numbers)) is not None:
        return unit
    few = text.iloc[np.linspace(0, len(text) - 1, min(len(text), 50)).astype(int)] if len(text) else text
    if not len(few) or few.str.contains(r"\d").mean() < 0.9 or few.str.len().max() > 40:
        return None
    if not np.isnan(numbers).any() and not AS_TIME.search(name):
        return DIGITS if are_days(text) else None
    marks = _marks(few.iloc[0])
    for form in _forms(text):
        if not (marks.startswith(_marks(form)) if "%z" in form else marks == _marks(form)):
            continue
        if DateTime.times(few, form).notna().mean() >= 0.9:
            times = DateTime.times(text, form)
            if values.counts[times.notna().to_numpy()].sum() >= (1 - ODD) * values.rows:
                return form
    return None


def are_days(text: pd.Series) -> bool:
    """Whether numbers are days of 1900 to 2099 without exception, such as 20210228."""
    days = text.str.fullmatch(r"(19|20)\d{6}")
    return len(text) >= DAYS and bool(days.all()) and bool(DateTime.times(text, DIGITS).notna().all())


def epoch(name: str, numbers: npt.NDArray[np.float64]) -> str | None:
    """The unit of numbers that are seconds, or parts of them, from 2000 to 2050, if their name is one of times."""
    if AS_TIME.search(name) is None or not len(numbers):
        return None
    low, high = numbers.min(), numbers.max()
    return next((form for form, unit in EPOCHS.items() if low >= 946684800 * unit and high <= 2524608000 * unit), None)


def _marks(text: str) -> str:
    """The characters between letters and digits."""
    return re.sub(r"%-?\w|\w", "", text)


def _times(values: Values, times: pd.Series, form: str, reason: str) -> Inferred:
    """Times at the coarsest of day, hour, minute, second that tells them apart."""
    plain = times.dt.tz_convert(None) if getattr(times.dt, "tz", None) is not None else times
    ticks = plain.dropna().to_numpy(dtype="datetime64[us]").astype(np.int64)
    units = (86400, 3600, 60, 1, 0.001, 0.000001)
    resolution = values.hint.get("resolution") or next(unit for unit in units if not (ticks % round(unit * 1e6)).any())
    step = round(resolution * 1e6)
    order = ticks.argsort(kind="stable")
    codes = (ticks[order] + step // 2) // step
    ends = ends_of(codes, values.counts[order], values.support)
    dtype = "int64" if form in EPOCHS or form == "%Y%m%d" else "str"
    column = values.column(DateTime, dtype, resolution=float(resolution), format=form, **ends)
    word = {86400.0: "days", 3600: "hours", 60: "minutes", 1: "seconds"}.get(float(resolution), f"{resolution:g} s")
    return answer(values, column, "time", f"{reason}; {word}")
