"""Sequences: rows grouped and ordered as a file has them, written back as they were, and refused in one clear line."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold.engine
from fourfold.data import DataError, load, read_all
from fourfold.data.writers import write_examples
from fourfold.engine.loader import Loader
from fourfold.main import run as fourfold_command
from fourfold.metrics import References, choose_draws
from fourfold.metrics.sequences import copied_sequences
from fourfold.spaces import Categorical, DateTime, Identifier, Numeric, Sequences
from fourfold.spaces.sequences import ABSENT
from fourfold.tasks import forecast

EVENTS = Sequences(
    (
        Categorical("page", categories=("x", "y"), missing=True),
        Identifier("user", pattern="U{}", first=7),
        DateTime("at", resolution=60, low=27000000, high=27000900, format="%Y-%m-%d %H:%M"),
        Numeric("price", "float64", resolution=0.01, low=0, high=500, decimals=2, least=2),
    ),
    "at",
    (0, 90),
    5,
    "user",
)


def events(n=60):
    """Events of users, in the order of the file: sorted by time over all users."""
    return _events(n).copy()


@functools.cache
def _events(n):
    rng, rows = np.random.default_rng(0), []
    for user in range(n):
        at = pd.Timestamp("2024-01-01") + pd.Timedelta(minutes=int(rng.integers(9000)))
        for _ in range(1 + rng.integers(5)):
            rows.append(
                (f"U{user:03d}", at, rng.choice(["x", "y"]), round(float(rng.gamma(2, 9)), 2), rng.random() < 0.5)
            )
            at += pd.Timedelta(minutes=int(1 + rng.integers(90)))
    frame = pd.DataFrame(rows, columns=["user", "at", "page", "price", "paid"])
    frame.loc[::7, "page"] = None
    return frame.sort_values(["at", "user"], kind="stable").reset_index(drop=True)


def test_rows_become_sequences_in_their_order():
    frame = events()
    data = load(frame, group="user", order="at", seed=3)
    x = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert data.space.columns == ("at", "page", "price", "paid")
    assert sorted(data.space.row_counts(x).tolist()) == sorted(frame.groupby("user").size().tolist())
    own, _ = read_all(frame, data.space)
    for k, (_, rows) in enumerate(frame.groupby("user", sort=False)):
        sequence = own.x[k, : len(rows)]
        minutes = (rows["at"] - pd.Timestamp("1970-01-01")).dt.total_seconds().to_numpy() / 60
        assert sequence[:, 0].cumsum(0).tolist() == minutes.tolist()
        assert (own.x[k, len(rows) :] == ABSENT).all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".tsv"])
def test_files_come_back_as_they_were(tmp_path, suffix):
    """Columns, order, dtypes, formats and gaps; the keys are fresh, so they go on from those of the data."""
    frame = events()
    source, back = tmp_path / "events.csv", tmp_path / f"back{suffix}"
    frame.to_csv(source, index=False)
    data = load(source, group="user", order="at")
    x, _ = read_all(source, data.space)
    write_examples(back, x.x, data.space)
    again, notes = read_all(back, data.space)
    assert torch.equal(again.x, x.x)
    assert [note.partition(": ")[0] for note in notes] == ["10 of 177 rows, column price"]  # beyond the training rows
    if suffix == ".csv":
        written, original = pd.read_csv(back, dtype=str), pd.read_csv(source, dtype=str)
        assert list(written.columns) == list(frame.columns)
        assert written["user"].iloc[0] == "U060"
        order = original.assign(first=original.groupby("user")["at"].transform("min"), row=range(len(original)))
        place = {user: k for k, user in enumerate(dict.fromkeys(original["user"]))}
        order = order.assign(place=order["user"].map(place)).sort_values(["place", "row"], kind="stable")
        for name in ("at", "page", "paid"):
            assert written[name].fillna("").tolist() == order[name].fillna("").tolist()
        assert np.allclose(written["price"].astype(float), order["price"].astype(float))


def test_a_data_frame_keeps_its_dtypes():
    frame = events().astype({"page": "category"})
    data = load(frame, group="user", order="at")
    table = data.space.table(data.train.x)
    assert list(table.columns) == list(frame.columns)
    assert [str(a) for a in table.dtypes] == [str(a) for a in frame.dtypes]
    assert table.groupby("user", sort=False)["at"].is_monotonic_increasing.all()
    assert len(set(table["user"])) == len(data.train.x)
    assert not set(table["user"]) & set(frame["user"])


def test_a_series_is_cut_into_windows_by_position():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"t": np.arange(1000) * 3, "v": rng.normal(size=1000).round(2)})
    data = load(frame, order="t", length=10)
    assert data.space.window == 10
    assert any("one series" in note for note in data.notes)
    assert len(data.train.x) + len(data.validation.x) + len(data.test.x) == 999  # the first row has no step
    test_numbers = data.space.row.numbers(data.test.x)[:, 1]
    assert np.allclose(test_numbers, frame["v"].to_numpy()[-len(data.test) :])  # the end of the file
    table = data.space.table(data.space.rows(data.train.x)[:1])
    assert list(table.columns) == ["t", "v"]
    assert table["t"].tolist() == [3000 + 3 * i for i in range(10)]  # samples go on after the end of the data
    two = data.space.table(data.space.rows(data.train.x)[:2])
    assert two["sample"].tolist() == [1] * 10 + [2] * 10


def shops(lengths=(90, 41, 70, 20, 130)):
    """Rows of shops, interleaved in time as files have them. Value 1000 k + t says shop and day."""
    parts = [
        pd.DataFrame(
            {
                "day": pd.date_range("2024-01-01", periods=n) + pd.Timedelta(days=k),
                "shop": f"S{k}",
                "v": 1000 * k + np.arange(n),
            }
        )
        for k, n in enumerate(lengths)
    ]
    return pd.concat(parts).sort_values(["day", "shop"], kind="stable").reset_index(drop=True)


def test_windows_lie_within_one_of_several_series_and_the_test_is_the_end_of_each():
    lengths, length = (90, 41, 70, 20, 130), 8
    data = load(shops(lengths), series="shop", order="day", length=length)
    rows = [data.space.row.numbers(part.x) for part in (data.train, data.validation, data.test)]
    value = data.space.columns.index("v")
    held = {k: max(n // 10, length) if n >= 4 * length else 0 for k, n in enumerate(lengths)}
    for k, n in enumerate(lengths):
        days = [sorted((part[:, value][part[:, value] // 1000 == k] - 1000 * k).int().tolist()) for part in rows]
        assert days[0] == list(range(1, n - 2 * held[k]))  # the first row says where steps begin
        assert days[1] == list(range(n - 2 * held[k], n - held[k]))
        assert days[2] == list(range(n - held[k], n))
    for part in (data.train, data.validation, data.test):
        v = data.space.row.numbers(part.x)[:, value]
        windows = [v[s : s + length] for s in range(len(v) - length + 1)]
        whole = [s for s, window in enumerate(windows) if (window.diff() == 1).all()]
        assert data.space.starts(part.x).tolist() == whole
        cut = data.space.rows(part.x)
        assert (data.space.numbers(cut)[..., value].diff(dim=1) == 1).all()
        runs = [(v // 1000 == k).sum().item() for k in range(len(lengths))]
        assert len(cut) == sum(run // length for run in runs)
    assert not set(data.train.x[:, value].tolist()) & set(data.test.x[:, value].tolist())
    first = load(shops(lengths), series="shop", order="day", length=4, limit=180)
    v = torch.cat([first.space.row.numbers(part.x)[:, value] for part in (first.train, first.validation, first.test)])
    assert [int(v[v // 1000 == k].max()) - 1000 * k for k in range(len(lengths))] == [45, 20, 35, 9, 66]
    batch = Loader(data.train, data.space, 64, 0)(3).x
    assert (data.space.numbers(batch)[..., value].diff(dim=1) == 1).all()


def test_each_of_several_series_goes_on_after_its_own_end(tmp_path):
    frame = shops()
    data = load(frame, series="shop", order="day", length=8)
    run = fourfold.engine.fit("autoregressive", data, budget="6 steps", size="xs", precision="float32")
    run.save(tmp_path / "run")
    frame.to_csv(tmp_path / "shops.csv", index=False)
    given = ("--given", tmp_path / "shops.csv", "--length", 6, "-n", 2, "--out", tmp_path / "next.csv")
    assert call("sample", tmp_path / "run", *given) == 0
    table = pd.read_csv(tmp_path / "next.csv", parse_dates=["day"])
    for k, (shop, rows) in enumerate(frame.groupby("shop")):
        for n in (1, 2):
            own = table[table["sample"] == 2 * k + n]
            assert own["day"].tolist() == list(pd.date_range(rows["day"].iloc[-4], periods=10))
            assert own["v"].head(4).tolist() == rows["v"].tail(4).tolist()
            assert set(own["shop"].head(4)) == {shop}
    with pytest.raises(DataError, match="at least 2 rows"):
        forecast(run.model, pd.concat([frame, pd.DataFrame({"day": ["2024-01-01"], "shop": ["S9"], "v": [1]})]))


# --- refusals ---------------------------------------------------------------------------------------------------------


def changed(**columns):
    return events().assign(**columns)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (events(), {"group": "usr", "order": "at"}, "--group.* must be one of .*user.*, got 'usr'"),
        (events(), {"group": "user", "series": "page", "order": "at"}, "group must be left out beside series"),
        (events(), {"series": "user"}, "--series user .* must stand beside a column that orders rows"),
        (events(), {"series": "at", "order": "at"}, "series and order must be different"),
        (events(), {"series": "user", "order": "at", "length": 8}, "must have a window of 8 rows"),
        (events(12), {"group": "user", "order": "at"}, "at least 20, got 12.*--series user"),
        (events(), {"group": "user", "order": "when"}, "--order.* must be one of .*, got 'when'"),
        (
            events(),
            {"group": "user"},
            "--group user .* a column that orders rows, got none; give --order",
        ),
        (events(), {"group": "at", "order": "at"}, "group and order must be different columns, got"),
        (events(), {"group": "user", "order": "page"}, "column page: .* to order rows"),
        (events(), {"group": "user", "order": "at", "labels": "paid"}, "labels must be left out for sequences"),
        (events(), {"group": "user", "order": "at", "target": "paid"}, "target must be left out for sequences"),
        (events(), {"group": "user", "order": "at", "length": 1}, "length must be at least 2 rows, got 1"),
        (events(9), {"group": "user", "order": "at"}, "sequences must be at least 20, got 9"),
        (
            changed(user=[f"K{i}" for i in range(len(events()))]),
            {"group": "user", "order": "at"},
            "must name several rows",
        ),
        (
            changed(user=events()["user"].where(events().index != 4)),
            {"group": "user", "order": "at"},
            "row 5, column user: must name its sequence",
        ),
        (
            changed(at=events()["at"].where(events().index != 6)),
            {"group": "user", "order": "at"},
            "row 7, column at: must have a value",
        ),
        (
            pd.DataFrame({"k": ["a", "a", "a"] * 30, "t": [2, 1, 2] * 30, "v": range(90)}),
            {"group": "k", "order": "t"},
            "rows 2 and 5 of one k: must differ in t in a file that is not sorted",
        ),
        (pd.DataFrame({"t": [3, 1, 3, 2] * 9, "v": range(36)}), {"order": "t"}, "must differ in t in a file"),
        (events(), {"space": "sequences"}, "name the column that orders its rows"),
        (
            pd.DataFrame({"t": range(60), "v": range(60)}),
            {"order": "t", "length": 40},
            "must have a window of 40 .*; give a longer series or a smaller length",
        ),
    ],
)
def test_refusals(frame, options, message):
    with pytest.raises(DataError, match=message):
        load(frame, **options)


def test_ties_of_a_sorted_file_keep_its_order():
    frame = pd.DataFrame({"k": [f"{i // 3}" for i in range(90)], "t": [1, 1, 2] * 30, "v": [3, 1, 2] * 30})
    data = load(frame, group="k", order="t")
    assert any("30 rows have the same t" in note for note in data.notes)
    x, _ = read_all(frame, data.space)
    assert data.space.table(x.x)["v"].tolist() == frame["v"].tolist()


def test_rows_that_are_not_sorted_are_sorted_and_this_is_said():
    frame = events()
    backwards = frame.iloc[::-1].reset_index(drop=True)
    data = load(backwards, group="user", order="at")
    assert any(note.startswith("rows were sorted by at") for note in data.notes)
    place = {user: k for k, user in enumerate(dict.fromkeys(frame["user"]))}
    other = [place[user] for user in dict.fromkeys(backwards["user"])]
    assert torch.equal(read_all(backwards, data.space)[0].x, read_all(frame, data.space)[0].x[other])


def test_longer_sequences_are_known_by_their_first_rows():
    data = load(events(), group="user", order="at", length=3)
    assert data.space.length == 3
    assert any("more than 3 rows and are known by their first ones" in note for note in data.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, 1:, :], "must be sequences of shape"),
        (lambda x: x.float(), "codes of sequences must be int64"),
        (lambda x: x.index_fill(1, torch.tensor([0]), ABSENT), "sequence 0: must have"),
        (
            lambda x: torch.where(torch.arange(5)[:, None] == 1, torch.tensor([0, -4, 0]), x),
            "row 1, column at: must not fall",
        ),
        (
            lambda x: torch.where(torch.tensor([True, False, False]) & (x != ABSENT), 9, x),
            "column page: has no category 9",
        ),
    ],
)
def test_foreign_examples_are_refused(change, message):
    x = EVENTS.examples(4, torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match=message):
        EVENTS.check(change(x))


def test_copies_are_found():
    x = EVENTS.examples(40, torch.Generator().manual_seed(0))
    train = EVENTS.numbers(x)
    assert copied_sequences(train[:10], train, train[30:]).value == 1
    fresh = EVENTS.numbers(EVENTS.examples(10, torch.Generator().manual_seed(1)))
    assert copied_sequences(fresh, train, fresh).value == 0


def test_trees_tell_independent_rows_from_sequences_and_not_sequences_from_sequences():
    rng = np.random.default_rng(0)
    v = np.cumsum(rng.normal(size=(400, 12)), 1)
    kinds = [v, np.cumsum(rng.normal(size=(400, 12)), 1), rng.permuted(v, axis=1)]
    frames = [
        pd.DataFrame({"k": np.repeat(range(400), 12), "t": list(range(12)) * 400, "v": kind.ravel().round(1)})
        for kind in kinds
    ]
    space = load(frames[0], group="k", order="t").space
    space = Sequences(
        (*space.schema[:2], Numeric("v", resolution=0.1, low=-400, high=400, decimals=1)), "t", (1, 1), 12, "k"
    )
    real, other, shuffled = (read_all(frame, space)[0].x for frame in frames)
    references = References(choose_draws(real[:200], 150), real[200:350], None, real[350:], real[:200])
    same, apart = (next(space.measures(x[:150], references)) for x in (other, shuffled))
    assert same.low < 0.6
    assert apart.value > 0.9


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sequences")
    events(80).to_csv(path / "events.csv", index=False)
    words = ["fit", "autoregressive", path / "events.csv", "--group", "user", "--order", "at", "--budget", "12 steps"]
    assert (
        fourfold_command([*map(str, words), "--size", "xs", "--precision", "float32", "--out", str(path / "run")]) == 0
    )
    return path


def call(*words):
    return fourfold_command([str(word) for word in words])


def test_data_says_what_orders_and_what_names(folder, capsys):
    assert call("data", folder / "events.csv", "--group", "user", "--order", "at") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "sequences of up to 5 rows of 4 columns" in output
    assert "names 80" in output
    assert "orders the" in output


def test_samples_scores_and_forecasts(folder, capsys):
    assert call("sample", folder / "run", "-n", 20, "--out", folder / "new.csv") == 0
    samples = pd.read_csv(folder / "new.csv")
    assert list(samples.columns) == ["user", "at", "page", "price", "paid"]
    assert samples["user"].nunique() == 20
    assert call("score", folder / "run", folder / "new.csv", "--out", folder / "scores.csv") == 0
    assert "nats/row" in capsys.readouterr().out
    scores = pd.read_csv(folder / "scores.csv")
    assert scores["rows"].tolist() == samples.groupby("user", sort=False).size().tolist()
    assert np.isfinite(scores["nats"]).all()
    prefix = events(80).groupby("user", sort=False).head(2).query("user in ['U003', 'U001', 'U010']")
    prefix.to_csv(folder / "prefix.csv", index=False)
    assert call("sample", folder / "run", "--given", folder / "prefix.csv", "--out", folder / "more.csv") == 0
    more = pd.read_csv(folder / "more.csv")
    assert list(dict.fromkeys(more["user"])) == list(dict.fromkeys(prefix["user"]))
    for user, rows in prefix.groupby("user"):
        own = more[more["user"] == user].head(len(rows))
        assert own["price"].tolist() == rows["price"].tolist()
        assert pd.to_datetime(own["at"]).tolist() == rows["at"].tolist()
    assert call("sample", folder / "run", "--given", folder / "prefix.csv", "-n", 2, "--out", folder / "two.csv") == 0
    assert {f"U00{k}#{i}" for k in (1, 3) for i in (1, 2)} < set(pd.read_csv(folder / "two.csv")["user"])


def test_a_forecast_that_cannot_be_is_refused(folder, capsys):
    whole = events(80).groupby("user", sort=False).filter(lambda rows: len(rows) == 5)
    whole.to_csv(folder / "whole.csv", index=False)
    assert call("sample", folder / "run", "--given", folder / "whole.csv", "--out", folder / "no.csv") == 2
    assert "than the 5 of a sequence" in " ".join(capsys.readouterr().err.split())
    assert call("sample", folder / "run", "--given", folder / "whole.csv", "--length", 3) == 2
    assert "must be left out for sequences" in " ".join(capsys.readouterr().err.split())
    whole.drop(columns="user").to_csv(folder / "nokey.csv", index=False)
    assert call("score", folder / "run", folder / "nokey.csv") == 2
    assert "must have the column 'user', which names the sequences" in " ".join(capsys.readouterr().err.split())


def test_a_series_goes_on_after_its_end(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"day": pd.date_range("2022-01-01", periods=600), "v": rng.normal(size=600).round(1)})
    data = load(frame, order="day", length=8)
    run = fourfold.engine.fit("diffusion", data, budget="6 steps", size="xs", precision="float32")
    continuation = forecast(run.model, frame.tail(50))
    assert any("the last 4 of 50 rows are given, and 4 follow" in note for note in continuation.notes)
    table = continuation.table()
    assert table["v"].head(4).tolist() == frame["v"].tail(4).tolist()
    assert table["day"].tolist() == pd.date_range("2023-08-20", periods=8).tolist()
    frame.to_csv(tmp_path / "series.csv", index=False)
    run.save(tmp_path / "run")
    assert call("sample", tmp_path / "run", "--given", tmp_path / "series.csv", "--length", 11) == 0
    longer = pd.read_csv(tmp_path / "run" / "samples.csv", parse_dates=["day"])
    assert longer["v"].head(4).tolist() == frame["v"].tail(4).tolist()
    assert longer["day"].tolist() == pd.date_range("2023-08-20", periods=15).tolist()


def test_a_forecast_follows_the_condition_of_each_sequence():
    """The first page says nothing of the later ones, and the condition tells them: that of the rows, or another."""
    group = np.repeat(np.random.default_rng(0).choice(["p", "q"], 200), 4)
    frame = pd.DataFrame({"user": np.repeat(np.arange(200), 4), "at": np.tile(np.arange(4), 200), "group": group})
    frame["page"] = np.where((frame["group"] == "p") & (frame["at"] > 0), "x", "y")
    data = load(frame, group="user", order="at", given=["group"])
    run = fourfold.engine.fit("autoregressive", data, budget="40 steps", size="xs", precision="float32")
    beginnings = frame[frame["at"] == 0].groupby("group").head(1).sort_values("group")

    def shares(rows, given=None):
        table = forecast(run.model, rows, 30, given=given).table()
        later = table[table["at"] > 0].assign(user=table["user"].str.split("#").str[0])
        return [float((later["page"][later["user"] == str(user)] == "x").mean()) for user in beginnings["user"]]

    bare = beginnings.drop(columns="group")
    for first, second in (shares(beginnings), shares(bare, {"group": ["p", "q"]})):
        assert first > 0.8
        assert second < 0.2
    first, second = shares(beginnings, {"group": ["q", "p"]})  # what is given counts
    assert first < 0.2
    assert second > 0.8
    with pytest.raises(ValueError, match="3"):
        forecast(run.model, bare, given={"group": ["p", "q", "q"]})


def test_windows_that_are_drawn_return_from_their_file(tmp_path):
    """Several windows of a series are numbered in a file, and each goes on from the last row of the data."""
    rows = pd.DataFrame(
        {"day": pd.date_range("2024-01-01", periods=300), "x": np.arange(300) % 7, "y": list("ab") * 150}
    )
    rows.to_csv(tmp_path / "real.csv", index=False)
    space = load(tmp_path / "real.csv", order="day", length=6).space
    x = torch.stack([space.rows(read_all(tmp_path / "real.csv", space)[0].x)[i] for i in (3, 8, 5)])
    x[1, 2:, space.at] = 2  # with a gap of a day
    space.text(x).to_csv(tmp_path / "drawn.csv", index=False)
    assert torch.equal(read_all(tmp_path / "drawn.csv", space)[0].x, x)
    later = dataclasses.replace(space, origin=space.origin + 9)  # that go on from elsewhere
    later.text(x).to_csv(tmp_path / "later.csv", index=False)
    x[1, 0, space.at] = 2  # the usual step of its window
    assert torch.equal(read_all(tmp_path / "later.csv", space)[0].x, x)
    pd.read_csv(tmp_path / "drawn.csv").groupby("sample").head(5).to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(DataError, match="must hold windows of 6 rows, got at most 5; draw longer ones"):
        read_all(tmp_path / "short.csv", space)
