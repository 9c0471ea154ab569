"""Tied columns are named where data is described, trained on and scored."""

import pytest
import torch

from fourfold.data import describe, load, read_all
from fourfold.spaces import Images, Vectors


def table(n: int = 400) -> torch.Tensor:
    """A count from 0 to 4, a normal column, and one whose values are rounded to hundredths."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(n, 2, generator=generator)
    count = torch.randint(5, (n, 1), generator=generator).float()
    return torch.cat([count, normal[:, :1], (100 * normal[:, 1:]).round() / 100], 1)


def test_tied_columns_are_named_with_their_share_and_others_are_not() -> None:
    (line,) = Vectors(3, ("count", "height", "rounded")).notes(table())
    assert "count (100 % of rows)" in line
    assert "rounded (" in line
    assert "height" not in line
    assert "not comparable" in line
    assert "column 1 (100 % of rows)" in Vectors(3).notes(table())[0]


def test_the_share_is_that_of_rows_whose_value_occurs_again() -> None:
    x = torch.arange(100.0)
    x[:30] = -1.0
    assert "column 1 (30 % of rows)" in Vectors(1).notes(x[:, None])[0]


@pytest.mark.parametrize("name", ["two-moons", "gaussian-mixture"])
def test_sampled_sets_have_none(name: str) -> None:
    assert load(name).notes == ()


def test_few_rows_and_images_tell_nothing() -> None:
    assert Vectors(1).notes(torch.zeros(19, 1)) == ()
    assert Images(1, 2, 2).notes(torch.zeros(50, 1, 2, 2, dtype=torch.uint8)) == ()


def test_the_line_stands_wherever_data_is_described(tmp_path) -> None:
    path = tmp_path / "a.csv"
    rows = [f"{count:.0f},{height:.9f}" for count, height in table()[:, :2].tolist()]
    path.write_text("\n".join(["count,height", *rows]) + "\n", encoding="utf-8")
    data = load(path, space="vectors")
    (line,) = data.notes
    assert line.startswith("tied values in count (100 % of rows): a density")
    assert f"note       {line}" in describe(data)
    assert line in data.record()["notes"]
    assert "tied values in count" in read_all(path, Vectors(2, ("count", "height")))[1][0]


def test_the_built_in_wine_is_tied() -> None:
    (line,) = load("wine").notes
    assert "alcohol" in line
