"""Formats of texts that name their rows: each row of a format is of it, fresh texts are too, and none repeats."""

import ipaddress
import re
import uuid

import numpy as np
import pandas as pd
import pytest

from fourfold.data import load
from fourfold.spaces.columns import Identifier
from fourfold.spaces.formats import format_of_all, is_format, numbered_texts, places_of

RNG = np.random.default_rng(0)
BYTES = [RNG.bytes(32).hex() for _ in range(300)]

CASES = {
    "[0-9a-f]{8}": [text[:8] for text in BYTES],
    "[0-9A-F]{2}:[0-9A-F]{4}": [f"{text[:2]}:{text[2:6]}".upper() for text in BYTES[:150]],
    r"order\-[0-9a-f]{64}": [f"order-{text}" for text in BYTES],
    r"\d{4}\ \d{4}\ \d{4}": [f"{a:04} {b:04} {c:04}" for a, b, c in RNG.integers(0, 10**4, (300, 3))],
    r"a\\\d{8}\.x": [rf"a\{k:08}.x" for k in RNG.integers(0, 10**8, 300)],
}


@pytest.mark.parametrize("form", CASES)
def test_texts_of_one_length_have_a_format_and_fresh_texts_are_of_it(form):
    texts = CASES[form]
    assert format_of_all(texts) == form
    assert is_format(form)
    fresh = numbered_texts(form, range(1, 2001), "id")
    assert all(re.fullmatch(form, text) for text in (*texts, *fresh))
    assert len(set(fresh)) == 2000


def test_every_text_of_a_format_is_written_once():
    form = r"[A-Z]{1}\d{2}"
    every = numbered_texts(form, range(2600), "id")
    assert sorted(every) == sorted(f"{letter}{k:02}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for k in range(100))
    assert places_of(r"\\\d{1}") == ["\\", "0123456789"]


def test_formats_with_a_name():
    addresses = [f"192.168.{a}.{b}" for a, b in RNG.integers(0, 256, (300, 2))]
    assert format_of_all(addresses) == "ipv4"
    assert all(ipaddress.ip_address(text).is_private for text in numbered_texts("ipv4", range(1, 99), "ip"))
    assert format_of_all([str(uuid.uuid4()) for _ in range(30)]) == "uuid"


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["a1", "b22"],  # of two lengths
        ["Ärger", "Öfen!"],
        [f"{a}{b}" for a in "ABC" for b in range(10)],  # too few texts for fresh ones
        ["10.0.0.1", "10.0.0.256"],
    ],
)
def test_other_texts_have_none(texts):
    assert format_of_all(texts) is None


@pytest.mark.parametrize("pattern", ["{}", "A-{}", "abc", "", "x[0-9"])
def test_a_pattern_of_a_number_is_no_format(pattern):
    assert not is_format(pattern)


def test_a_table_gets_fresh_hashes_and_addresses_in_its_samples():
    addresses = [f"172.16.{k % 256}.{k * 7 % 251}" for k in range(300)]
    frame = pd.DataFrame({"hash": BYTES, "ip": addresses, "n": RNG.normal(size=300).round(2)})
    space = load(frame).space
    columns = {column.name: column for column in space.schema}
    assert isinstance(columns["hash"], Identifier)
    assert columns["hash"].pattern == "[0-9a-f]{64}"
    assert columns["ip"].pattern == "ipv4"
    texts = columns["hash"].text(np.zeros(50, dtype=np.int64))
    assert texts.str.fullmatch("[0-9a-f]{64}").all()
    assert not texts.isin(BYTES).any()
