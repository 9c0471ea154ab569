"""Columns of numbers: quantities at a resolution, codes of categories, and numbers of rows."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from fourfold.data.schema.composites import names_a_code
from fourfold.data.schema.tails import ends_of
from fourfold.data.schema.times import are_days, epoch
from fourfold.data.schema.values import ODD, Inferred, Values, answer, as_numbers, refuse, without
from fourfold.data.schema.words import NAMED, category, fresh
from fourfold.machine.libraries import pyarrow
from fourfold.spaces.columns import COORDINATE, Numeric, plain_numbers

__all__ = ["number"]

FEW = 10
"""A column of so few different numbers is a category."""
CODES = 100
"""A column of so few different whole numbers is a category if their frequencies jump, as those of codes do."""
THOUSANDTHS = 3
"""Numbers of at most so many decimals keep them: money, weights and lengths are counted in such units."""
DIGITS = 7
"""Numbers of more decimals than that, and of more significant digits, have a resolution coarser than the last."""
DECADES = 9
"""Positive numbers of more powers of ten are on a grid of their logarithms: a linear one would lose the small ones."""
POWER_STEP = 1e-3
"""The coarsest step of such a grid, in powers of ten."""
DEGREES = 6
"""Decimals of degrees on the globe: a tenth of a metre."""
NOISE = 9
"""Numbers with more digits behind the point owe them to the arithmetic of floats, if they are rare."""


def number(values: Values) -> Inferred | None:
    by_hint = values.hint.get("kind") == "number"
    if (inferred := _amounts(values)) is not None:
        return inferred
    numbers = as_numbers(values.text)
    if not len(numbers) or (not by_hint and not _numeric(values, numbers)):
        return None
    if by_hint:
        refuse(values, np.isnan(numbers), "a number")
        refuse(values, np.isinf(numbers), "a finite number")
    odd = ~np.isfinite(numbers)
    plain = without(values, odd, "a finite number" if np.isinf(numbers).any() else "a number")
    numbers = numbers[~odd]
    whole = bool((numbers == np.round(numbers)).all())
    digits = plain.text.str.fullmatch(r"[+-]?\d+").all()
    if whole and digits and np.abs(numbers).max() >= 2**53 and not by_hint:
        return None  # codes of many digits: no float tells them apart
    order = numbers.argsort(kind="stable")
    numbers, counts = numbers[order], plain.counts[order]
    if not by_hint:
        if whole and not odd.any() and (inferred := _counting(values, numbers)) is not None:
            return inferred
        if (reason := _codes(numbers, counts, whole)) is not None:
            return dataclasses.replace(category(values), reason="; ".join([reason, *values.remarks]))
    return _quantity(plain, numbers, counts, whole)


_AMOUNT = r"(-?)([^\d.,-]*?)(-?)(\d{1,3}(?:[%s '\u00a0]\d{3})+(?:%s\d+)?|\d+(?:%s\d+)?)([^\d.,-]{0,12})"
"""A number with a sign or a unit, and with marks between groups of digits."""
POINTS = ((".", re.compile(_AMOUNT % (",", r"\.", r"\."))), (",", re.compile(_AMOUNT % (".", ",", ","))))
"""The signs before the digits behind the point, as in English and as in most of Europe, with such amounts."""


def _amounts(values: Values) -> Inferred | None:
    """Numbers with one sign or unit, such as ``$1,200``, ``12 kg`` or ``1.200,50 €``, which samples have as well."""
    if not len(values.text) or values.coded.dtype == "category" or not np.isnan(as_numbers(values.text)).any():
        return None
    amounts = (_amounts_with(values, point, amount) for point, amount in POINTS)
    return next((inferred for inferred in amounts if inferred is not None), None)


def _amounts_with(values: Values, point: str, amount: re.Pattern[str]) -> Inferred | None:
    """The same, with one sign before the digits behind the point."""
    text = values.text
    if sum(amount.fullmatch(str(word)) is not None for word in text.iloc[:20]) < min(len(text), 20) / 2:
        return None
    matches = [amount.fullmatch(word) if isinstance(word, str) else None for word in text]
    parts = [None if match is None else match.groups() for match in matches]
    units = Counter((part[1], part[4]) for part in parts if part is not None)
    if not units:
        return None
    (prefix, suffix), _ = units.most_common(1)[0]
    marks = {mark for part in parts if part is not None for mark in re.sub(rf"[\d{point}]", "", part[3])}
    fits = np.array([part is not None and (part[1], part[4]) == (prefix, suffix) for part in parts])
    plain = not (prefix or suffix or marks) and (point == "." or not text.str.contains(point, regex=False).any())
    if len(marks) > 1 or plain or _coded(prefix, values):
        return None
    if values.counts[~fits].sum() > ODD * values.rows:
        return None
    mark = next(iter(marks), "")
    values = without(values, ~fits, f"an amount like {text[fits].iloc[0]}")
    bare = plain_numbers(values.text, prefix, suffix, mark, point)
    column = number(dataclasses.replace(values, text=bare, remarks=()))  # the answer below has them
    if column is None or not isinstance(column.column, Numeric):
        return None
    signs = dataclasses.replace(column.column, prefix=prefix, suffix=suffix, thousands=mark, point=point)
    signed = dataclasses.replace(signs, dtype="str")
    return answer(values, signed, "number", f"{column.reason}; written like {text[fits].iloc[0]}")


def _coded(prefix: str, values: Values) -> bool:
    """True for letters that are no unit, as in ``C00017`` or ``Item 3``. Codes of currencies, such as ``EUR``, are."""
    zeros = values.text.str.extract(r"(\d+)")[0].fillna("").str.match(r"0\d").any()
    return names_a_code(prefix) or bool(zeros)


def _numeric(values: Values, numbers: npt.NDArray[Any]) -> bool:
    """True if values are numbers but for a few words. Neither times, as numbers, nor codes with leading zeros."""
    if (
        are_days(values.text)
        or epoch(values.coded.name, numbers) is not None
        or values.text.str.match(r"[+-]?0\d").any()
    ):
        return False
    if values.counts[np.isnan(numbers)].sum() > ODD * values.rows:
        return False
    if values.counts[np.isinf(numbers)].sum() > ODD * values.rows:
        refuse(values, np.isinf(numbers), "a finite number")
    return True


def _quantity(values: Values, numbers: npt.NDArray[Any], counts: npt.NDArray[Any], whole: bool) -> Inferred:
    """Numbers at a resolution."""
    digits, least, exact = _decimals(values, numbers, counts)
    wide = not exact and not values.hint.keys() & {"resolution", "decimals"} and _decades(numbers) > DECADES
    if values.hint.get("logarithmic", wide):
        return _powers(values, numbers, counts)
    remarks = []
    if "resolution" in values.hint:
        resolution = float(values.hint["resolution"])
    elif exact:
        scaled = np.rint(numbers * 10.0**digits)
        step = int(np.gcd.reduce(scaled.astype(np.int64))) if np.abs(scaled).max() < 2**62 else 1
        resolution = max(step, 1) / 10.0**digits
    else:
        resolution = 10.0**-DEGREES if COORDINATE.search(values.coded.name) else _coarse(numbers, counts)
        most, digits = digits, max(0, round(-math.log10(resolution)))
        least = min(least, digits)
        remarks.append(f"kept to {resolution:g}, since {most} decimals are finer than a model can learn")
    far = np.abs(as_numbers(values.text)) >= 2.0**62 * resolution
    refuse(values, far, f"within reach of a grid of {resolution:g}, as the others are")
    digits = int(values.hint.get("decimals", max(digits, _decimals_of(resolution))))
    least = min(int(values.hint.get("least", least)), digits)
    plain = "int64" if whole and digits == 0 and values.coded.dtype is None else "float64"
    codes = np.rint(numbers / resolution).astype(np.int64)
    ends = ends_of(codes, counts, values.support)
    column = values.column(Numeric, plain, resolution=resolution, decimals=digits, least=least, **ends)
    kind = "whole numbers" if whole and resolution == 1 else f"multiples of {resolution:g}"
    inferred = answer(values, column, "number", "; ".join([kind, *remarks, *_shape(numbers, counts)]))
    return dataclasses.replace(inferred, continuous=not exact)


def _powers(values: Values, numbers: npt.NDArray[Any], counts: npt.NDArray[Any]) -> Inferred:
    """Positive numbers on a grid of their logarithms."""
    refuse(values, as_numbers(values.text) <= 0, "a positive number, since the schema says that it is logarithmic")
    powers = np.log10(numbers)
    resolution = float(values.hint.get("resolution", min(_coarse(powers, counts), POWER_STEP)))
    ends = ends_of(np.rint(powers / resolution).astype(np.int64), counts, values.support)
    column = values.column(Numeric, "float64", resolution=resolution, logarithmic=True, **ends)
    reason = f"positive numbers over {_decades(numbers):.0f} decades, on a grid of {resolution:g} in powers of ten"
    return answer(values, column, "number", reason)


def _decades(numbers: npt.NDArray[Any]) -> float:
    """The powers of ten that sorted numbers span, 0 where one is not positive."""
    return float(np.log10(numbers[-1]) - np.log10(numbers[0])) if numbers[0] > 0 else 0.0


def _counting(values: Values, numbers: npt.NDArray[Any]) -> Inferred | None:
    """Whole numbers that number the rows: each occurs once, and they count up, or their name says so."""
    if values.rows < 20 or len(numbers) < values.rows:
        return None
    name = values.coded.name
    by_name = NAMED.search(name) is not None or re.fullmatch(r"Unnamed: \d+|", name) is not None
    years = numbers[0] >= 1500 and numbers[-1] <= 2200
    if not by_name and (years or numbers[-1] != numbers[0] + len(numbers) - 1):
        return None
    reason = "each number occurs once, " + ("and the name says so" if by_name else "and they count up")
    return fresh(values, "int64", "{}", 0, int(numbers[-1]) + 1, reason)


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


def _decimals(values: Values, numbers: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[int, int, bool]:
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
    few = usual <= THOUSANDTHS or (COORDINATE.search(values.coded.name) is not None and usual <= DEGREES)
    exact = few or usual + before + 1 <= DIGITS
    return usual, int(digits[~power].min(initial=usual)), exact


def _decimals_of(resolution: float) -> int:
    """Digits behind the point that multiples of a resolution need."""
    return next((digits for digits in range(12) if abs(round(resolution, digits) - resolution) < 1e-9 * resolution), 12)


def _coarse(numbers: npt.NDArray[Any], counts: npt.NDArray[Any]) -> float:
    """A power of ten that cuts the middle four fifths of the values into 1,000 steps or more."""
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
    remarks = []
    if counts[mode] > 0.2 * counts.sum():
        remarks.append(f"{100 * counts[mode] / counts.sum():.0f} % are {numbers[mode]:g}")
    middle, high = (_quantile(numbers, counts, share) for share in (0.5, 0.99))
    tail = max(numbers[-1] - high, 0) > 2 * max(high - middle, 0) and numbers[-1] > high
    return [*remarks, *(["a long tail"] if tail else [])]
