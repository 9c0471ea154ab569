"""Users give conditions in every form, values that columns must have, and both at once."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fourfold import build, main
from fourfold.data.writers import as_lines, write_examples
from fourfold.engine import Run
from fourfold.spaces import Categorical, Categories, Images, Numeric, Table, Vectors
from fourfold.tasks import conditioning
from fourfold.tasks.drawing import beside

CITIES = Categories(("Bonn", "Ulm", "3"))
PERSON = Table(
    (
        Categorical("sex", categories=("f", "m")),
        Numeric("age", "int64", resolution=1, low=0, high=99, missing=True),
    )
)
WORK = Table((Categorical("job", categories=("cook", "smith")), Numeric("pay", "int64", resolution=1, low=0, high=9)))
POINT = Vectors(2, ("a", "b"))


def condition(space, given, label=None):
    return conditioning(space, given, label).condition


def test_a_condition_stays_what_it_is():
    space = PERSON.conditioned_on(CITIES)
    for value in ("Ulm", ["Ulm", "Bonn"], 1, [0, 1], torch.tensor([1, 2])):
        parts = conditioning(space, value)
        assert parts.condition is value
        assert not parts.restrictions
    assert conditioning(space, None).condition is None


def test_columns_of_the_samples_are_restrictions_and_the_rest_is_the_condition():
    space = PERSON.conditioned_on(CITIES)
    parts = conditioning(space, ["Ulm", "age=30..40", "sex=f", "sex=m"])
    assert parts.condition == ["Ulm"]
    assert parts.restrictions == {"age": [("30", "40")], "sex": ["f", "m"]}
    parts = conditioning(space, {"city": "Ulm", "age": (30, 40)}, "city")
    assert (parts.condition, parts.restrictions) == ("Ulm", {"age": (30, 40)})
    parts = conditioning(space, ["city=Ulm", "age=..40"], "city")
    assert (parts.condition, parts.restrictions) == ("Ulm", {"age": [(None, "40")]})


def test_columns_of_the_condition_make_its_row():
    space = PERSON.conditioned_on(WORK)
    for given in ({"job": "smith", "pay": 7}, ["job=smith", "pay=7"], pd.DataFrame({"pay": [7], "job": ["smith"]})):
        row = space.encode_condition(condition(space, given), 3)
        assert torch.equal(row, torch.tensor([[1, 7]]).expand(3, 2))
    parts = conditioning(space, {"job": ["smith", "cook"], "pay": 7, "age": 30})
    assert torch.equal(space.encode_condition(parts.condition, 2), torch.tensor([[1, 7], [0, 7]]))
    assert parts.restrictions == {"age": 30}
    numbers = WORK.conditioned_on(POINT)
    assert torch.equal(condition(numbers, ["b=2", "a=-1.5"]), torch.tensor([-1.5, 2.0]))
    assert torch.equal(condition(numbers, {"a": 0, "b": [1, 2]}), torch.tensor([[0.0, 1.0], [0.0, 2.0]]))


def test_a_file_holds_conditions(tmp_path):
    space = PERSON.conditioned_on(WORK)
    pd.DataFrame({"job": ["smith", "cook"], "pay": [7, 1]}).to_csv(tmp_path / "work.csv", index=False)
    assert torch.equal(condition(space, tmp_path / "work.csv"), torch.tensor([[1, 7], [0, 1]]))
    images = Images(1, 2, 2)
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    cond = condition(PERSON.conditioned_on(images), [tmp_path / "x.npy", tmp_path / "x.npy"])
    assert cond.flatten().tolist() == [*range(12)] * 2
    Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2)).save(tmp_path / "x.png")
    assert condition(PERSON.conditioned_on(images), tmp_path / "x.png").flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("space", "given", "message"),
    [
        (PERSON.conditioned_on(WORK), {"job": "smith"}, "every column of the condition, got none of pay"),
        (
            PERSON.conditioned_on(WORK),
            ["job=smiht", "pay=1"],
            "one of cook, smith, got 'smiht'; did you mean 'smith'",
        ),
        (PERSON.conditioned_on(WORK), {"job": ["cook"] * 3, "pay": [1, 2]}, "column pay must have 3 values"),
        (PERSON.conditioned_on(CITIES), ["Ulm", "city=Bonn"], "columns or conditions, got 'city=Bonn' and 'Ulm'"),
        (Vectors(2).conditioned_on(POINT), {"a": 1, "c": 2}, "columns a, b, got 'c'"),
        (PERSON, ["Ulm"], "column=value"),
        (PERSON, ["agg=3"], "column must be one of .*, got 'agg'; did you mean 'age'"),
    ],
)
def test_refusals_name_what_the_model_takes(space, given, message):
    with pytest.raises(ValueError, match=message):
        conditioning(space, given, "city")


@pytest.mark.parametrize("given", [Images(1, 2, 2), POINT], ids=["picture", "vector"])
def test_a_file_that_does_not_exist_is_no_condition(given):
    with pytest.raises(ValueError, match=r"a file that exists, .*got the text 'missing\.png'"):
        given.conditions(["missing.png"], 1)


def test_samples_follow_condition_and_restrictions_of_each_row():
    """Restricted rows are drawn again and again; each keeps its own condition."""
    torch.manual_seed(0)
    run = Run(build("autoregressive", PERSON.conditioned_on(CITIES), size="xs").eval())
    frame = run.table(40, ["Ulm", "Bonn"] * 20, require="age > 60 or sex == 'm'")
    assert frame["label"].tolist() == ["Ulm", "Bonn"] * 20
    assert ((frame["age"] > 60) | (frame["sex"] == "m")).all()
    assert (run.table(5, ["3", "sex=f"])["sex"] == "f").all()
    with pytest.raises(ValueError, match="columns of its examples: use fourfold"):
        run.log_prob(run.sample(2), {"age": 3})
    alone = Run(build("flow", Vectors(2), size="xs").eval())
    with pytest.raises(ValueError, match="unconditional"):
        alone.sample(2, 3)


def test_the_command_line_samples_and_scores_given_a_file(tmp_path, capsys):
    torch.manual_seed(0)
    run = Run(build("autoregressive", PERSON.conditioned_on(WORK), size="xs").eval()).save(tmp_path / "run")
    work = pd.DataFrame({"job": ["smith", "cook"], "pay": [7, 1]})
    work.to_csv(tmp_path / "work.csv", index=False)

    def said(*words):
        assert main.run([*map(str, words)], False) == 0
        return capsys.readouterr().out

    said("sample", tmp_path / "run", "--given", tmp_path / "work.csv", "-n", 3, "--out", tmp_path / "a.csv")
    frame = pd.read_csv(tmp_path / "a.csv")
    assert frame["job"].tolist() == ["smith"] * 3 + ["cook"] * 3
    x = run.sample(6, work.loc[[0] * 3 + [1] * 3])
    assert torch.equal(PERSON.codes(frame), x)
    words = ("sample", tmp_path / "run", "--given", "job=cook", "--given", "pay=1", "--given", "sex=f", "-n", 4)
    assert set(said(*words, "--out", "-").split()[1:]) <= {f"f,{age},cook,1" for age in ["", *range(100)]}
    frame.iloc[:, :2].to_csv(tmp_path / "x.csv", index=False)
    frame.iloc[:, 2:].to_csv(tmp_path / "c.csv", index=False)
    mean = run.log_prob(x, frame.iloc[:, 2:]).nats.mean()
    for data in ((tmp_path / "x.csv", "--given", tmp_path / "c.csv"), (tmp_path / "a.csv",)):
        record = json.loads(said("score", tmp_path / "run", *data, "--json"))
        assert record["quantity"] == "log p(x | c)"
        assert record["mean"] == pytest.approx(float(mean), abs=1e-4)


def test_conditions_stand_beside_samples(tmp_path):
    space, x = PERSON.conditioned_on(WORK), torch.tensor([[0, 30], [1, 40]])
    columns = beside(space, torch.tensor([[1, 7], [0, 2]]))
    text = "sex,age,job,pay\nf,30,smith,7\nm,40,cook,2"
    assert as_lines(x, space, columns) == text
    assert write_examples(tmp_path / "a.csv", x, space, columns).read_text() == text + "\n"
    assert list(pd.read_parquet(write_examples(tmp_path / "a.parquet", x, space, columns))["pay"]) == [7, 2]
    numbers = Vectors(1, ("a",)).conditioned_on(POINT)
    some = beside(numbers, torch.tensor([[1.0, 2.0], [torch.nan] * 2]))
    lines = as_lines(torch.tensor([[0.5], [1.5]]), numbers, some)
    assert lines == "a,a (condition),b\n0.5,1,2\n1.5,,"
    with np.load(write_examples(tmp_path / "a.npz", torch.zeros(2, 1), numbers, some)) as arrays:
        assert arrays["b"][0] == 2
    assert beside(numbers.conditioned_on(Images(1, 9, 9)), torch.zeros(2, 1, 9, 9)).table is None
