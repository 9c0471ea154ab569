"""Databases under a guarantee: what a person with all rows changes, the account of all tables, refusals, resumption."""

import json
import shutil
import stat

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("dp_accounting")

import fourfold
from fourfold.data import DataError
from fourfold.data import private as counted
from fourfold.privacy import Guarantee, Protection
from fourfold.privacy.accounting import require_accountant
from fourfold.runs.checkpoint import BrokenRun
from fourfold_databases.database import Database, read_database
from fourfold_databases.fitting import fit_database
from fourfold_databases.plan import NO, YES
from fourfold_databases.private import Guard, ProtectedTable, Public, read_public
from fourfold_databases.run import DatabaseRun
from fourfold_databases.schema import Schema

SECRET = b"a secret of test"
KEYS = """
[people]
key = "person_id"
[visits]
key = "visit_id"
[visits.links]
person_id = "people"
[drugs.links]
visit_id = "visits"
"""
SCHEMA = Schema.of_toml("keys.toml", KEYS)


def clinic(people: int = 200) -> dict[str, pd.DataFrame]:
    """People with 0 to 7 visits, each with 0 to 3 drugs."""
    rng = np.random.default_rng(0)
    persons = pd.DataFrame({"person_id": np.arange(people), "sex": rng.choice(["f", "m"], people)})
    persons["age"] = rng.integers(20, 60, people)
    visits = pd.DataFrame({"person_id": np.repeat(np.arange(people), rng.integers(0, 8, people))})
    visits.insert(0, "visit_id", np.arange(len(visits)))
    visits["ward"] = rng.choice(["heart", "eye", "skin"], len(visits))
    visits["days"] = rng.integers(0, 9, len(visits))
    drugs = pd.DataFrame({"visit_id": np.repeat(np.arange(len(visits)), rng.integers(0, 4, len(visits)))})
    drugs["dose"] = rng.integers(1, 6, len(drugs))
    return {"people": persons, "visits": visits, "drugs": drugs}


def without(tables: dict[str, pd.DataFrame], person: int) -> dict[str, pd.DataFrame]:
    """The tables without a person and all that belongs to the person."""
    people, visits, drugs = tables.values()
    gone = visits["visit_id"][visits["person_id"] == person]
    rest = {"people": people[people["person_id"] != person], "visits": visits[visits["person_id"] != person]}
    return {**rest, "drugs": drugs[~drugs["visit_id"].isin(gone)]}


def read(tables: dict[str, pd.DataFrame], epsilon: float = 5.0) -> dict[str, ProtectedTable]:
    database: Database = read_database(tables, SCHEMA)
    guard = Guard.of(database, Guarantee(epsilon), Public(), SECRET)
    return dict(guard.reading(database, database).tables)


@pytest.mark.parametrize("person", [0, 17, 101])
def test_a_person_with_all_rows_changes_all_counts_by_no_more_than_the_noise_is_for(monkeypatch, person):
    """Brute force: every histogram of every table with the person and without, before noise."""
    histograms: dict[tuple[bytes, str, str, str], tuple[float, np.ndarray]] = {}
    before: dict[tuple[bytes, str, str, str], tuple[float, np.ndarray]] = {}

    def note(self, column: str, counts: np.ndarray, what: str = "") -> np.ndarray:
        key = (self.protection.secret, self.name, column, what)
        histograms[key] = (self.deviation, counts)
        return before.get(key, histograms[key])[1]  # later counts follow from the first release

    monkeypatch.setattr(counted._Noise, "added", note)
    whole = clinic()
    assert (whole["visits"]["person_id"] == person).sum() > 1
    read(whole)
    before.update(histograms)
    histograms.clear()
    read(without(whole, person))
    assert before.keys() == histograms.keys()
    square = {key: float(((counts - histograms[key][1]) ** 2).sum()) for key, (_, counts) in before.items()}
    assert all(before[key][0] == histograms[key][0] for key in before)
    assert max(square.values()) <= 1 + 1e-9
    total = sum(part / before[key][0] ** 2 for key, part in square.items())
    bound = Protection(Guarantee(5.0)).all_counts(200) ** -2
    assert 0.1 * bound < total <= bound * (1 + 1e-9)


def test_every_example_belongs_to_the_person_at_the_top():
    tables, data = clinic(), read(clinic())
    assert [*data] == ["people", "visits", "drugs"]
    assert {part.data.units.count for part in data.values()} == {200}
    top = tables["visits"].set_index("visit_id")["person_id"]
    drugs = data["drugs"]
    assert np.array_equal(drugs.unit, top[drugs.rows["visit_id"].astype(int)].to_numpy())
    assert len(drugs.data.train) == drugs.rows["visit_id"].nunique()
    examples = np.bincount(drugs.data.units.of, minlength=200)
    visits = data["visits"].rows
    named = visits[visits["visit_id"].isin(drugs.rows["visit_id"])]
    assert np.array_equal(examples, np.bincount(named["person_id"].astype(int), minlength=200))
    most = data["visits"].plan.longest, data["drugs"].plan.longest
    assert visits.groupby("person_id").size().max() <= most[0]
    assert np.bincount(drugs.unit).max() <= drugs.most == most[0] * most[1]


def test_the_examples_of_others_do_not_depend_on_a_person(monkeypatch):
    """With the same released counts, the examples of all others are the same to the last code."""
    first_counts: dict[tuple[bytes, str, str, str], np.ndarray] = {}

    def note(self, column: str, counts: np.ndarray, what: str = "") -> np.ndarray:
        return first_counts.setdefault((self.protection.secret, self.name, column, what), counts)

    monkeypatch.setattr(counted._Noise, "added", note)
    whole, rest = read(clinic()), read(without(clinic(), 5))
    for table in whole:
        with_person, alone = whole[table].data, rest[table].data
        others = torch.from_numpy(with_person.units.of != 5)
        assert int((~others).sum()) > 0 or table != "people"
        assert torch.equal(with_person.train.x[others], alone.train.x)
        if with_person.train.cond is not None:
            assert torch.equal(with_person.train.cond[others], alone.train.cond)
        assert torch.equal(with_person.statistics.x[:, :1], alone.statistics.x[:, :1]) or table == "people"
        assert with_person.record()["train"] == 200  # not how many rows or sequences there are


def test_flags_and_conditions_are_those_of_the_rows():
    tables, data = clinic(), read(clinic())
    people = data["people"].data
    space = people.space
    text = space.table(people.train.x)
    owns = tables["people"]["person_id"].isin(tables["visits"]["person_id"])
    assert (text["has visits"] == np.where(owns, YES, NO)).all()
    visits = data["visits"].data
    ages = visits.space.given.table(visits.train.cond)["people.age"].to_numpy(float)
    low, high = ages.min(), ages.max()  # the ends are told with noise
    of = tables["people"]["age"].to_numpy()[visits.units.of]
    assert np.array_equal(ages, of.clip(low, high))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private") / "run"
    said: list[str] = []
    settings = {"budget": "3 steps", "size": "xs", "batch_size": 20, "private": "epsilon=6"}
    result = fit_database("autoregressive", clinic(), schema=SCHEMA, out=folder, say=said.append, **settings)
    return result, folder, said


def test_the_account_of_a_database_is_the_composition_of_all_tables(run):
    privacy = run[0].privacy
    library = require_accountant()
    accountant = library.pld.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(library.GaussianDpEvent(privacy["noise of counts"]))
    assert [*privacy["tables"]] == ["people", "visits", "drugs"]
    for about in privacy["tables"].values():
        assert (about["rate"], about["steps"]) == (0.1, 3)
        event = library.PoissonSampledDpEvent(about["rate"], library.GaussianDpEvent(about["noise"]))
        accountant.compose(library.SelfComposedDpEvent(event, about["steps"]))
    inner = 0.9 * privacy["delta"]  # the rest pays for the names of levels
    assert privacy["spent"] == pytest.approx(accountant.get_epsilon(inner), abs=2e-4)
    assert 5.8 < privacy["spent"] <= privacy["epsilon"] == 6.0
    assert privacy["unit"] == "one row of people with all rows that belong to it"
    assert privacy["public"][:3] == ["names of tables and columns", "keys and links", "number of rows of people"]
    recorded = json.loads((run[1] / "database.json").read_text())
    assert recorded["privacy"] == json.loads(json.dumps(privacy))
    assert recorded["plans"]["visits"]["rows"] == recorded["plans"]["drugs"]["rows"] == 0


def test_nothing_that_is_written_or_said_counts_the_rows_of_children(run):
    _, folder, said = run
    rows = [len(clinic()[table]) for table in ("visits", "drugs")]
    texts = [path.read_text() for path in folder.rglob("*.json")] + said
    assert not any(f'"train": {count}' in text or f"{count:,} rows" in text for text in texts for count in rows)
    assert stat.S_IMODE((folder / "resume" / "secret").stat().st_mode) == 0o600
    secret = (folder / "resume" / "secret").read_text()
    assert not any(secret in text for text in texts)


def test_samples_keep_keys_and_links(run):
    new = DatabaseRun.load(run[1]).sample(0.5, seed=0)
    assert len(new["people"]) == 100
    for table, key in (("people", "person_id"), ("visits", "visit_id")):
        assert new[table][key].is_unique
    assert new["visits"]["person_id"].isin(new["people"]["person_id"]).all()
    assert new["drugs"]["visit_id"].isin(new["visits"]["visit_id"]).all()
    for table, frame in clinic().items():
        assert [*new[table]] == [*frame]


def test_a_training_goes_on_with_its_secret_and_never_spends_twice(tmp_path):
    class StopError(Exception):
        pass

    data, first, second = tmp_path / "clinic", tmp_path / "a", tmp_path / "b"
    data.mkdir()
    for table, frame in clinic(100).items():
        frame.to_csv(data / f"{table}.csv", index=False)
    (tmp_path / "keys.toml").write_text(KEYS)

    def stop(line: str) -> None:
        if line.startswith("drugs"):
            raise StopError

    settings = {"budget": "2 steps", "size": "xs", "batch_size": 10, "private": "epsilon=6", "checkpoint_every": 0.0}
    with pytest.raises(StopError):
        fit_database("autoregressive", data, schema=tmp_path / "keys.toml", out=first, say=stop, **settings)
    shutil.copytree(first, second)
    runs = [fit_database(out=folder, resume=True) for folder in (first, second)]
    for table in ("people", "visits", "drugs"):
        weights = [torch.cat([p.flatten() for p in run.runs[table].model.parameters()]) for run in runs]
        assert torch.equal(*weights)  # steps that are taken twice are the same steps
    assert runs[0].privacy == runs[1].privacy
    again = fit_database(out=first, resume=True, budget="9 steps")
    assert {table: about["steps"] for table, about in again.privacy["tables"].items()} == dict.fromkeys(again.runs, 2)
    assert {run.card["steps"] for run in again.runs.values()} == {2}
    with pytest.raises(ValueError, match=r"private must be .*, got .*; leave it out"):
        fit_database(out=first, resume=True, private="epsilon=9")
    shutil.rmtree(second / "resume")
    with pytest.raises(BrokenRun, match="twice"):
        fit_database(out=second, resume=True)


def test_public_tables_and_facts_are_taken_as_they_are():
    tables = clinic()
    tables["wards"] = pd.DataFrame({"ward_id": ["heart", "eye", "skin", "ear"], "floor": [1, 2, 3, 4]})
    tables["visits"] = tables["visits"].rename(columns={"ward": "ward_id"})
    keys = (
        KEYS.replace('person_id = "people"', 'person_id = "people"\nward_id = "wards"') + '[wards]\nkey = "ward_id"\n'
    )
    public = {"wards": {"public": True}, "visits": {"longest": 4, "days": {"kind": "number", "low": 0, "high": 30}}}
    settings = {"budget": "1 steps", "size": "xs", "batch_size": 10, "private": 6}
    schema = Schema.of_toml("keys.toml", keys)
    result = fit_database("autoregressive", tables, schema=schema, public=public, **settings)
    space = {column.name: column for column in result.runs["visits"].model.space.schema}
    assert space["ward_id"].categories == ("heart", "eye", "skin", "ear")  # "ear" too, which no visit names
    assert (space["days"].low, space["days"].high) == (0, 30)
    assert result.plans["visits"].longest == 4
    assert {"table wards", "column visits.days"} <= {*result.privacy["public"]}
    new = result.sample(0.3)
    assert new["wards"].astype(str).equals(tables["wards"].astype(str))
    assert new["visits"]["ward_id"].dropna().isin(tables["wards"]["ward_id"]).all()
    with pytest.raises(DataError, match=r"visits .* belong to one unit .* wards"):
        fit_database("autoregressive", tables, schema=schema, **settings)


@pytest.mark.parametrize(
    ("public", "message"),
    [
        ({"nobody": {}}, "nobody"),
        ({"visits": {"most": 3}}, "most"),
        ({"visits": {"longest": 1}}, "longest"),
        ({"visits": {"days": {"kind": "numeral"}}}, "numeral"),
    ],
)
def test_a_public_fact_that_is_none_is_refused(public, message):
    with pytest.raises(DataError, match=message):
        read_public(public, SCHEMA)


def refusal(tables: dict[str, pd.DataFrame], keys: str | None, **more) -> str:
    schema = None if keys is None else Schema.of_toml("keys.toml", keys)
    with pytest.raises((DataError, ValueError)) as caught:
        fit_database("autoregressive", tables, schema=schema, private=4, budget="1 steps", **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_promised_is_refused_by_name_with_the_way_out():
    tables = clinic()
    assert "read from the rows" in refusal(tables, None)
    friends = pd.DataFrame({"a": [1, 2, 3] * 10, "b": [4, 5, 6] * 10})
    bridge = refusal({**tables, "friends": friends}, KEYS + '[friends.links]\na = "people"\nb = "people"\n')
    assert "friends must belong to one unit" in bridge
    assert "public = true" in bridge
    loops = {**tables, "people": tables["people"].assign(boss=tables["people"]["person_id"] // 2)}
    assert "people.boss" in refusal(loops, KEYS + '[people.links]\nboss = "people"\n')
    alone = {**tables, "weather": pd.DataFrame({"day": range(30)})}
    assert "weather" in refusal(alone, KEYS + "[weather]\n")
    assert "must not be public" in refusal(tables, KEYS, public={"drugs": {"public": True}})
    assert "skip_bad" in refusal(tables, KEYS, skip_bad=True)


def test_a_guarantee_for_rows_is_still_that_of_one_table():
    frame = clinic()["people"]
    result = fourfold.fit("autoregressive", frame, private=6, budget="1 steps", size="xs", batch_size=10)
    assert result.card["privacy"]["unit"] == "one row"
