"""Names, notes, amounts and times as files write them: read, and written back in samples in the same form."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.spaces import DateTime, Numeric, Table
from fourfold.spaces.columns import UNREADABLE
from fourfold.spaces.spelling import SUPPORT, formats_of, spelling_of

FIRST = {"f": ["Anna", "Maria", "Sophie", "Laura"], "m": ["Peter", "Paul", "Lukas", "Jonas"]}


def frame(n: int = 800) -> pd.DataFrame:
    r = np.random.default_rng(0)
    sex = r.choice(["f", "m"], n)
    parts = (["Sch", "M", "B", "Kl", "H", "W"], ["mid", "ull", "eck", "ein", "off", "eb"], ["er", "mann", "t", "berg"])
    last = ["".join(r.choice(part) for part in parts) for _ in range(n)]
    moment = pd.Timestamp("2021-01-01") + pd.to_timedelta(r.integers(0, 600 * 24, n), unit="h")
    iso, zone = r.random(n) < 0.7, r.choice(["+01:00", "+02:00"], n, p=[0.3, 0.7])
    return pd.DataFrame(
        {
            "sex": sex,
            "name": [f"{r.choice(FIRST[s])} {word}" for s, word in zip(sex, last, strict=True)],
            "phone": [
                f"+49 {a}-{b:06d}" for a, b in zip(r.integers(100, 999, n), r.integers(0, 999999, n), strict=True)
            ],
            "email": [f"{word.lower()}{k}@mail.com" for word, k in zip(last, r.integers(1, 99, n), strict=True)],
            "price": [f"${v:,.2f}" for v in r.gamma(2, 900, n)],
            "debt": [f"{'-' if v < 3000 else ''}${v:,}" for v in r.integers(1, 9000, n)],
            "weight": [f"{v} kg" for v in r.integers(1, 200, n)],
            "when": [t.strftime("%Y-%m-%d" if k else "%d/%m/%Y") for t, k in zip(moment, iso, strict=True)],
            "at": [t.strftime("%Y-%m-%d %H:%M") + z for t, z in zip(moment, zone, strict=True)],
        }
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[fourfold.Dataset, pd.DataFrame, pd.DataFrame]:
    path = tmp_path_factory.mktemp("kinds") / "kinds.csv"
    frame().to_csv(path, index=False)
    data = fourfold.load(path)
    model = fourfold.build("autoregressive", data.space, "xs")
    model.fit_statistics(data.train.x)
    return data, frame(), data.space.text(model.sample(300, seed=1))


def test_samples_have_every_column_in_the_form_of_the_file(drawn):
    data, real, samples = drawn
    assert list(samples) == list(real)
    for name, form in {
        "phone": r"\+49 \d{3}-\d{6}",
        "email": r"[a-z]+\d+@mail\.com",
        "price": r"\$(\d{1,3}(,\d{3})*)\.\d\d",
        "debt": r"-?\$\d{1,3}(,\d{3})*",
        "weight": r"\d+ kg",
        "when": r"\d{4}-\d\d-\d\d|\d\d/\d\d/\d{4}",
        "at": r"\d{4}-\d\d-\d\d \d\d:\d\d\+0[12]:00",
    }.items():
        assert real[name].str.fullmatch(form).all()
        assert samples[name].str.fullmatch(form).all(), name
    again = data.space.codes(samples.replace("", None))
    assert torch.equal(again, data.space.codes(data.space.text(again)))


def test_amounts_and_times_are_quantities_of_the_values_that_they_say(drawn):
    data, real, _ = drawn
    kinds = {column.name: column for column in data.space.modelled}
    price, at, when = kinds["price"], kinds["at"], kinds["when"]
    assert isinstance(price, Numeric)
    assert isinstance(at, DateTime)
    assert isinstance(when, DateTime)
    codes = price.codes(real["price"])
    assert np.allclose(codes * price.resolution, real["price"].str.replace(r"[$,]", "", regex=True).astype(float))
    assert at.times_of(at.codes(real["at"])).equals(
        pd.to_datetime(real["at"], utc=True).dt.tz_convert(None).dt.as_unit("us")
    )
    days = pd.concat(
        [pd.to_datetime(real["when"], format=f, errors="coerce") for f in ("%Y-%m-%d", "%d/%m/%Y")], axis=1
    )
    assert (when.times_of(when.codes(real["when"])) == days.bfill(axis=1).iloc[:, 0]).all()
    with pytest.raises(ValueError, match="row 2, column price"):
        price.codes(pd.Series(["$1,200.50", "12 kg"]))
    assert int(price.read(pd.Series(["-$1,200.50"]))[0]) * price.resolution == pytest.approx(-1200.5)
    assert int(kinds["weight"].read(pd.Series(["12 lb"]))[0]) == UNREADABLE


def test_names_are_new_plausible_and_depend_on_the_row(drawn):
    _, real, samples = drawn
    first, last = (samples["name"].str.split(" ").str[k] for k in (0, 1))
    by_sex = {s: set(first[samples["sex"] == s]) for s in ("f", "m")}
    for sex, other in (("f", "m"), ("m", "f")):
        of_sex = first[samples["sex"] == sex]
        assert of_sex.isin(FIRST[sex]).mean() > 0.9
        assert of_sex.isin(FIRST[other]).mean() < 0.02, by_sex
    assert last.isin(real["name"].str.split(" ").str[1]).mean() > 0.9
    assert samples["name"].isin(real["name"]).mean() < 0.8  # new pairs of both
    assert samples["name"].nunique() > 150


def test_masses_of_texts_sum_to_one_and_no_context_rests_on_few_rows():
    r = np.random.default_rng(0)
    texts = ["".join(r.choice(list("ab"), r.integers(0, 3))) for _ in range(400)]
    levels = [int(k) for k in r.integers(0, 2, 400)]
    spelling = spelling_of([*texts, "zzz"], [*levels, 0])
    assert spelling is not None
    short = ["".join(word) for n in range(9) for word in itertools.product("ab", repeat=n)]
    for level in (None, 0, 1):
        assert sum(math.exp(spelling.log_prob(text, level)) for text in short) == pytest.approx(1, abs=0.03)
    drawn = [spelling.draw(seed, 1) for seed in range(4000)]
    for text in ("", "a", "ab"):
        p = math.exp(spelling.log_prob(text, 1))
        assert drawn.count(text) / 4000 == pytest.approx(p, abs=4 * (p * (1 - p) / 4000) ** 0.5)
    rows = [sum(context.strip("\x02\ue000\ue001") in text for text in texts) for context in spelling.contexts]
    assert min(rows) >= SUPPORT
    assert not any("z" in context for context in spelling.contexts)
    assert spelling_of(["a"] * 3, [None] * 3) is None


def test_an_empty_text_is_drawn_only_where_the_data_have_some():
    texts = ["".join(letters) for letters in itertools.product("abc", repeat=3)]
    never, sometimes = (spelling_of(texts + [""] * gaps, [None] * (27 + gaps)) for gaps in (0, 9))
    assert all(never.draw(seed) for seed in range(2000))
    assert sum(not sometimes.draw(seed) for seed in range(2000)) / 2000 == pytest.approx(0.25, abs=0.05)


def test_formats_are_those_of_all_texts_or_none():
    assert formats_of([f"{a}B{a % 10} {a % 7}XY" for a in range(10, 99)]) == (
        (r"\d{2}[A-Z]{1}\d{1}\ \d{1}[A-Z]{2}", 1.0),
    )
    (collapsed, share), *rest = formats_of([f"{'a' * (k % 40 + 1)}@mail.com" for k in range(400)])
    assert (share, rest) == (1.0, [])
    assert re.fullmatch(collapsed, "bbb@mail.com")
    assert formats_of(["plain", "words", "only"] * 9) == ()
    assert formats_of([f"{k}-{k}" for k in range(99)] + ["1-1-1"]) == ()


def test_a_saved_table_draws_the_same_texts(drawn):
    from fourfold.core import configuration, construct

    data, _, _ = drawn
    again = construct(configuration(data.space))
    assert isinstance(again, Table)
    x = data.train.x[:20]
    assert again.text(x).equals(data.space.text(x))
    assert data.space.text(x)[:5].equals(data.space.text(x[:5]))


def test_the_words_of_a_text_fit_the_category_of_its_row():
    r = np.random.default_rng(0)
    kinds = r.choice(["bike", "lamp", "soup"], 600)
    start, end = r.choice(["I bought this", "We ordered a"], 600), r.choice(["in May", "in June", "last winter"], 600)
    texts = [f"{a} {kind} {b}. Never again." for a, kind, b in zip(start, kinds, end, strict=True)]
    data = fourfold.load(pd.DataFrame({"kind": kinds, "stars": r.integers(1, 6, 600).astype(str), "review": texts}))
    drawn = data.space.table(data.space.examples(200, torch.Generator().manual_seed(0)))
    fits = [kind in text for kind, text in zip(drawn["kind"], drawn["review"], strict=True)]
    assert np.mean(fits) > 0.9
