"""Sizes: a fraction of a preset's widths. Every recipe has them: ``tests/test_contract.py``."""

import pytest

from fourfold.recipes import Size, Sizes
from fourfold.vocabulary import parse_size


def test_a_size_is_a_preset_and_a_divisor_of_its_widths():
    assert parse_size("s") == ("s", 1)
    assert parse_size("m/4") == ("m", 4)
    for wrong in ("n", "s/3", "s/", "auto", "s/2/2"):
        with pytest.raises(ValueError, match="size must be xs, s, m, l, xl, or a narrower one"):
            parse_size(wrong)


def test_narrowing_keeps_depth_and_the_length_of_heads():
    assert Size(192, 6, 3).narrowed(2) == Size(96, 6, 1)
    assert Size(256, 8, 4).narrowed(2) == Size(128, 8, 2)
    assert Size(96, 2).narrowed(8) == Size(16, 2)  # 12 is no multiple of 8
    assert Size(16, 1).narrowed(8) == Size(8, 1)
    table = Sizes({"xs": (Size(8, 1), 3), "s": (Size(64, 2), 9), "m": (Size(128, 4), 27)})
    assert table["s/4"] == (Size(16, 2), 9)  # a number stays
    assert table["m"] == (Size(128, 4), 27)
