"""Gaps of tables: which are filled, which stay, and what is said of the others."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold import build
from fourfold.data.builtin import FILES
from fourfold.data.tables import raw_frame
from fourfold.engine import Run
from fourfold.main import run as command
from fourfold.spaces import Categorical, Numeric, Table
from fourfold.spaces.columns import MISSING
from fourfold.tasks import impute, imputing


def customers(n, seed=0):
    """``cancelled`` is empty exactly where ``active`` is true."""
    rng = np.random.default_rng(seed)
    active = rng.random(n) < 0.6
    return pd.DataFrame(
        {
            "active": active,
            "city": rng.choice(["Ulm", "Jena"], n),
            "income": rng.integers(10, 40, n) * 100,
            "cancelled": pd.Series(rng.integers(2000, 2020, n)).where(~active).astype("Int64"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "customers"
    frame = customers(1500)
    fourfold.fit("autoregressive", frame, budget="300 steps", size="xs", device="cpu", out=path)
    return path


@pytest.fixture(scope="module")
def holes():
    frame = customers(120, 1)
    frame["city"] = frame["city"].where(np.arange(120) % 5 > 0)
    frame["income"] = frame["income"].astype("Int64").where(np.arange(120) % 3 > 0)
    return frame


def test_a_gap_that_the_model_expects_stays_and_is_counted(folder, holes):
    frame = holes.copy()
    frame.loc[:9, "cancelled"] = pd.NA
    imputed = impute(Run.load(folder, "cpu").model, frame)
    assert imputed.empty == {"cancelled": int(frame["active"].sum())}
    assert imputed.filled == {"city": 24, "income": 40, "cancelled": int((~frame["active"][:10]).sum())}
    assert imputed.table["cancelled"].isna().equals(frame["active"])
    assert imputed.table[["city", "income"]].notna().all(axis=None)
    assert not imputed.skipped
    count = imputed.empty["cancelled"]
    assert f"{count} cells of cancelled left empty: the model expects them to be" in imputed.remarks()


def test_only_the_columns_asked_for_are_filled(folder, holes, tmp_path, capsys):
    run = Run.load(folder, "cpu")
    imputed = impute(run.model, holes, columns=["city"])
    assert (imputed.filled, imputed.empty) == ({"city": 24}, {})
    pd.testing.assert_frame_equal(imputed.table.drop(columns="city"), holes.drop(columns="city"))
    with pytest.raises(ValueError, match=r"column must be one of .*, got 'citi'; did you mean 'city'"):
        impute(run.model, holes, columns=["citi"])
    holes.to_csv(tmp_path / "holes.csv", index=False)
    call = ["impute", str(folder), str(tmp_path / "holes.csv"), "--columns", "city,income"]
    assert command([*call, "--out", str(tmp_path / "f.csv"), "--device", "cpu"]) == 0
    message = capsys.readouterr().err
    assert "64 gaps filled: city 24, income 40" in message
    assert "left empty" not in message
    assert pd.read_csv(tmp_path / "f.csv").isna().sum().to_dict() == {
        "active": 0,
        "city": 0,
        "income": 0,
        "cancelled": int(holes["cancelled"].isna().sum()),
    }


SMALL = Table(
    (
        Categorical("kind", categories=("a", "b"), missing=True),
        Categorical("yes", categories=("no", "yes")),
        Numeric("size", low=0, high=2, missing=True),
        Categorical("note", categories=("p", "q\nr")),
    )
)


@pytest.fixture(scope="module")
def sampler():
    """A model that only draws whole rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build("adversarial", SMALL, "xs").eval()
        for p in model.parameters():
            p.data.add_(0.05 * torch.randn_like(p))
        model.codec.fit(SMALL.examples(300, torch.Generator().manual_seed(1)))
    return Run(model)


def test_a_row_that_cannot_be_filled_is_named_and_the_others_are_not_lost(sampler, tmp_path, monkeypatch):
    monkeypatch.setattr("fourfold.tasks.rejection.LEAST", 4096)
    monkeypatch.setattr("fourfold.tasks.rejection.DRAWS", 10)
    path = tmp_path / "t.csv"
    path.write_text('kind,yes,size,note\n\na,no,1,"q\nr"\n,no,,p\nb,maybe,,"q\nr"\nb,yes,2,\n')
    imputed = impute(sampler.model, path)
    assert [(skip.row, skip.where) for skip in imputed.skipped] == [(2, f"{path}, row 3 (line 6)")]
    assert "arbitrary conditionals (autoregressive, diffusion/masked)" in imputed.skipped[0].reason
    assert imputed.table.iloc[2].tolist() == ["b", "maybe", "", "q\nr"]
    assert imputed.table.iloc[3, 3] in ("p", "q\nr")
    assert sum(imputed.filled.values()) + sum(imputed.empty.values()) == 3
    assert any(line.startswith(f"skipped {path}, row 3 (line 6): model must draw") for line in imputed.remarks())


def test_votes_of_whole_samples_decide_what_stays_empty(sampler):
    """A gap stays where most samples that agree have it, and else it is filled."""
    x = sampler.model.sample(20_000, seed=9)
    cells, counts = torch.unique(x[:, [0, 1, 3]], dim=0, return_counts=True)
    common = cells[counts.argmax()]
    alike = x[(x[:, [0, 1, 3]] == common).all(1)]
    share = float((alike[:, 2] == MISSING).double().mean())
    frame = SMALL.table(alike[:1]).loc[[0] * 40].reset_index(drop=True)
    frame["size"] = None
    imputed = impute(sampler.model, frame)
    assert not imputed.skipped
    assert abs(share - 0.5) > 0.2, "else nothing is decided"
    assert (imputed.filled, imputed.empty) == (({}, {"size": 40}) if share > 0.5 else ({"size": 40}, {}))


def test_a_search_ends_in_time_and_says_how_far_it_is(monkeypatch):
    space = Table(tuple(Numeric(name, low=0, high=10**6, missing=True) for name in "abc"))
    run = Run(build("flow", space, "xs").eval())
    frame = pd.DataFrame({"a": np.arange(20) * 1000, "b": np.arange(20) * 7, "c": None})
    monkeypatch.setattr(imputing, "EVERY", 0.0)
    lines: list[str] = []
    start = time.monotonic()
    with pytest.raises(
        ValueError, match=r"none of 20 rows .* row 1: the time of 0.05 s was over: give it more patience"
    ):
        impute(run.model, frame, patience=0.05, say=lines.append)  # a search of all tries may take less than a second
    assert time.monotonic() - start < 60
    assert lines[-1].startswith("0 of 20 rows with gaps, ")
    many = pd.DataFrame({"a": np.arange(100), "b": 1, "c": None})
    with pytest.raises(ValueError, match=r"different sets .* got 100: use a model of arbitrary conditionals"):
        impute(run.model, many)
    with pytest.raises(ValueError, match="patience must be above 0 seconds, got 0"):
        impute(run.model, many, patience=0)


def test_what_is_filled_in_time_is_kept(folder, holes, monkeypatch):
    run = Run.load(folder, "cpu")
    monkeypatch.setattr(imputing._Clock, "over", lambda clock, done: done >= 64)
    imputed = impute(run.model, holes, batch_size=64)
    assert 0 < len(imputed.skipped) < 120
    first = imputed.skipped[0]
    assert first.where == f"row {first.row + 1}"
    assert first.reason == "the time of 300 s was over: give it more patience"
    assert imputed.table["income"][: first.row].notna().all()


def test_a_built_in_table_is_named_as_everywhere() -> None:
    run = fourfold.fit("autoregressive/trees", "penguins", budget="1 steps", size="xs", progress=False)
    table = impute(run.model, "penguins", seed=3).table
    path = impute(run.model, FILES["penguins"], seed=3).table
    assert table.equals(path)
    assert (table["sex"] != "").mean() > (raw_frame(FILES["penguins"])[0]["sex"] != "").mean()
