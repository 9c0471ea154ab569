"""Values that training rows do not have: schemas do not know them, tails hold numbers, means say what they lack."""

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.core import LogProb
from fourfold.data import load, read_all
from fourfold.data.schema.tails import ends_of
from fourfold.metrics import Measurement
from fourfold.spaces.columns import UNSEEN
from fourfold.tasks.evaluation import evaluate, mean_likelihood
from fourfold.vocabulary import Kind


def rows(n=200, seed=0):
    draw = np.random.default_rng(seed)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 900, n), "D")
    return pd.DataFrame(
        {
            "city": draw.choice(["Ulm", "Bonn", "Jena"], n),
            "age": draw.integers(18, 90, n),
            "income": np.round(np.exp(draw.normal(10, 0.5, n)), 1),
            "joined": days.strftime("%Y-%m-%d"),
        }
    )


NEW = {"city": "Trier", "age": 2000, "income": 9999999.25, "joined": "2031-07-01"}
"""A new category, values beyond the range, and a finer resolution."""


def held_out(frame, **settings):
    """The rows of a frame that are in no training split."""
    numbered = frame.assign(place=np.arange(len(frame)) / 7)
    train = load(numbered, **settings).train.x[:, -1]
    column = load(numbered, **settings).space.modelled[-1]
    places = np.rint(column.values(train.numpy()).to_numpy() * 7).astype(int)
    return np.setdiff1d(np.arange(len(frame)), places)


@pytest.mark.parametrize("settings", [{"seed": 3, "fractions": (0.6, 0.2, 0.2)}, {"seed": 1, "limit": 120}])
def test_held_out_rows_do_not_influence_the_schema(tmp_path, settings):
    frame = rows()
    changed = frame.astype({"income": float, "age": int})
    out = held_out(frame, **settings)
    for name, value in NEW.items():
        changed.loc[out[:15], name] = value
    for data, other in ((frame, changed), (tmp_path / "a.csv", tmp_path / "b.csv")):
        if data is not frame:
            frame.to_csv(data, index=False)
            changed.to_csv(other, index=False)
        before, after = load(data, **settings), load(other, **settings)
        assert before.space == after.space
        assert torch.equal(before.train.x, after.train.x)
        assert before.digest != after.digest, "the digest is that of all rows"
        held = torch.cat([after.validation.x, after.test.x])
        assert (held[:, 0] == UNSEEN).any()
        assert (held[:, 1] == 2000).any()


def test_gaps_and_labels_of_held_out_rows_do_not_either(tmp_path):
    frame = rows()
    out = held_out(frame)
    frame["age"] = frame["age"].astype("Int64")
    frame.loc[out[:3], "age"] = pd.NA
    dataset = load(frame, target="city")
    assert not dataset.space.modelled[1].missing
    assert int((torch.cat([dataset.validation.x, dataset.test.x])[:, 1] == UNSEEN).sum()) == 3


def events(n=60):
    draw = np.random.default_rng(5)
    lengths = draw.integers(2, 6, n)
    user = np.repeat(np.arange(n), lengths)
    at = np.concatenate([draw.integers(0, 50) + draw.integers(1, 4, k).cumsum() for k in lengths])
    return pd.DataFrame(
        {"user": user, "at": at, "kind": draw.choice(["a", "b"], len(at)), "v": draw.normal(size=len(at)).round(2)}
    )


def test_held_out_sequences_do_not_influence_the_schema():
    frame = events()
    settings = {"group": "user", "order": "at", "keep_rare": True}
    before = load(frame, **settings)
    tagged = load(frame.assign(tag=[f"t{user}" for user in frame["user"]]), **settings)
    tags = next(column for column in tagged.space.modelled if column.name == "tag").categories
    train = {int(tag[1:]) for tag in tags}
    changed = frame.copy()
    mine = ~frame["user"].isin(train)
    assert 10 <= frame.loc[mine, "user"].nunique() < 60, "the categories of a column are those of training sequences"
    last = mine & (frame["user"] != frame["user"].shift(-1))
    changed.loc[last, "at"] += 1000
    changed.loc[mine, "v"] = 77.125
    changed.loc[mine, "kind"] = "c"
    after = load(changed, **settings)
    assert before.space == after.space
    assert torch.equal(before.train.x, after.train.x)
    assert after.space.outside(after.test.x).all()
    assert not after.space.outside(after.train.x).any()


def test_the_end_of_a_series_does_not_influence_the_schema():
    draw = np.random.default_rng(6)
    frame = pd.DataFrame({"at": np.arange(400), "v": draw.normal(size=400).round(2), "w": draw.choice(["x", "y"], 400)})
    changed = frame.copy()
    changed.loc[390:, "v"], changed.loc[390:, "w"] = 55.125, "z"
    before, after = (load(table, order="at", length=8) for table in (frame, changed))
    assert before.space == after.space
    assert torch.equal(before.train.x, after.train.x)
    assert (after.test.x[-5:, 1:] != before.test.x[-5:, 1:]).all()


# --- tails ------------------------------------------------------------------------------------------------------------


def test_a_value_beyond_the_largest_of_n_is_as_likely_as_exchangeable_values_say():
    draw = np.random.default_rng(0)
    n, beyond, mass = 60, 0, 0.0
    for _ in range(4000):
        values = np.sort(np.rint(1e6 * draw.exponential(size=n)).astype(np.int64))
        tails = ends_of(values, np.ones(n, dtype=np.int64))
        beyond += int(1e6 * draw.exponential() > values[-1])
        mass += tails["beyond"][1]
    assert mass == pytest.approx(beyond, rel=0.25), "4,000 / 61 = 66 of them"


def test_an_end_that_many_values_share_is_hardly_exceeded():
    tails = ends_of(np.array([0, 3, 9]), np.array([50, 1, 1]))
    assert tails["beyond"] == pytest.approx((1 / (50 * 53), 1 / 53))
    assert tails["scale"][0] == 1, "the smallest values are the same"


@pytest.mark.parametrize("name", ["autoregressive", "flow", "diffusion/joint"])
def test_numbers_and_dates_beyond_the_range_have_a_finite_likelihood(name):
    frame = rows()
    run = fourfold.fit(name, frame, budget="2 steps", size="xs")
    odd = rows(6, 1)
    for place, value in enumerate(([18, 91, 300], [25000.0, 1e6, 0.1], ["2024-01-01", "2019-01-01", "2060-01-01"])):
        changed = odd.head(3).assign(**{["age", "income", "joined"][place]: value})
        with pytest.warns(UserWarning, match="is beyond"):
            assert torch.isfinite(run.log_prob(changed).nats).all()


# --- what is left out -------------------------------------------------------------------------------------------------


def test_a_mean_leaves_out_examples_outside_the_space_and_says_so():
    scored = LogProb(torch.tensor([-1.0, -torch.inf, -3.0]), Kind.EXACT, outside=torch.tensor([False, True, False]))
    assert scored.mean() == pytest.approx((-2.0, 1.0))
    assert "1 of 3 examples has a value that the model cannot draw" in scored.note_in()
    both = LogProb.cat([scored, scored])
    assert both.mean()[0] == -2
    score = mean_likelihood(both, "nats")
    assert (score.value, score.n) == (-2, 4)
    assert "4 of 6 test examples" in score.protocol
    assert "(n = 4 of 6, the others with values that are not in training)" in str(score)
    assert Measurement.from_record(score.record()) == score
    honest = LogProb(torch.tensor([-1.0, -torch.inf]), Kind.EXACT, outside=torch.tensor([False, False]))
    assert honest.mean()[0] == -torch.inf, "a model that gives a value of the space no mass is not flattered"


@pytest.mark.parametrize("name", ["autoregressive", "flow"])
def test_held_out_rows_with_new_values_neither_crash_nor_spoil_training_and_scores(name):
    frame = rows()
    out = held_out(frame)
    for column, value in NEW.items():
        frame.loc[out[:10], column] = value
    data = load(frame)
    run = fourfold.fit(name, data, budget="6 steps", size="xs")
    assert np.isfinite(run.card["choice"]["last_loss"])
    scores = evaluate(run.model, data, n=20)
    new = int(data.space.outside(data.test.x).sum())
    assert 0 < new < 20
    assert np.isfinite(scores[0].value)
    assert scores[0].n == 20 - new
    assert f"{20 - new} of 20 test examples" in scores[0].protocol
    assert all(np.isfinite(score.value) for score in scores if score.name.startswith(("two_sample", "marginal")))


def test_a_new_category_in_python_is_a_warning_and_not_a_bare_infinity():
    run = fourfold.fit("autoregressive", rows(), budget="2 steps", size="xs")
    odd = rows(6, 1)
    odd.loc[[1, 4], "city"] = ["Trier", "Kiel"]
    with pytest.warns(UserWarning, match=r"row 2, column city: 'Trier' is a value .*never saw.*likewise row 5: 'Kiel'"):
        scored = run.log_prob(odd)
    assert scored.outside.tolist() == [False, True, False, False, True, False]
    assert torch.isinf(scored.nats[scored.outside]).all()
    assert np.isfinite(scored.mean()[0])
    assert scored.count_words == "4 of 6"


def test_a_new_value_of_a_condition_makes_a_guess_and_has_no_probability(tmp_path):
    """A frame, a file of conditions and a file with the examples say the same of it."""
    frame = rows(60)[["city", "age", "income"]]
    run = fourfold.fit("autoregressive", frame, given=["city", "age"], budget="1 steps", size="xs")
    odd = rows(2, 1)[["city", "age", "income"]].assign(city=["Trier", "Ulm"], age=[30, 2000])
    odd[["city", "age"]].to_csv(tmp_path / "given.csv", index=False)
    odd.to_csv(tmp_path / "all.csv", index=False)
    for given in (odd[["city", "age"]], tmp_path / "given.csv"):
        with pytest.warns(UserWarning, match="a result given it is") as remarks:
            assert len(run.sample(2, given=given)) == 2
        lines = sorted(str(remark.message) for remark in remarks)
        assert [line.partition(": '")[0] for line in lines] == ["row 1, column city", "row 2, column age"]
        assert all("a result given it is" in line and "probab" not in line for line in lines)
    notes = read_all(tmp_path / "all.csv", run.model.space)[1]
    assert sum("a result given it is" in note for note in notes) == 2
    assert not any("column city" in note and "probability is 0" in note for note in notes)


def test_a_column_that_is_constant_in_training_alone_is_said_to_be_ignored():
    frame = rows()
    out = held_out(frame)
    frame["flag"] = "no"
    frame.loc[out[2], "flag"] = "yes"
    dataset = load(frame)
    message = f"row {out[2] + 1}, column flag: 'yes' is not 'no', as in all training rows: the column is not modelled"
    assert message in dataset.notes
    odd = rows(4, 1).assign(flag=["no", "no", "maybe", "no"])
    assert any("row 3, column flag: 'maybe' is not 'no'" in note for note in read_all(odd, dataset.space)[1])
    assert next(column.detail for column in dataset.columns if column.column.name == "flag") == "'no'"
