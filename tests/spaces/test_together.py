"""Several spaces at once: parts come back as they were, each may be unknown, and faults are named."""

import pytest
import torch

from fourfold.core.conditions import as_condition, unknown, unknown_like
from fourfold.spaces import Categorical, Categories, Images, Lines, Numeric, Sequences, Table, Together, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.spaces.sequences import ABSENT

ROWS = Table((Categorical("kind", categories=("a", "b"), missing=True), Numeric("price", high=10**9, missing=True)))
SERIES = Sequences((Numeric("when", high=9), Numeric("height", low=-5, high=40)), "when", (1, 2), 3)
PARTS = (Vectors(2), Categories(("low", "high")), Images(1, 2, 3), ROWS, SERIES, Lines.of_bytes(4))
SPACE = Together(PARTS)


def parts(n: int) -> list[torch.Tensor]:
    return [part.examples(n, torch.Generator().manual_seed(3)) for part in PARTS]


def test_parts_come_back_as_they_were_with_all_signs_of_codes() -> None:
    x = parts(20)
    x[3][:4] = torch.tensor([[MISSING, 2**53], [UNSEEN, MISSING], [1, -(2**53)], [0, UNSEEN]])
    x[4][0, 1] = ABSENT
    for before, after in zip(x, SPACE.split(SPACE.join(x)), strict=True):
        assert after.dtype == as_condition(before).dtype
        assert torch.equal(after, as_condition(before))
    assert SPACE.dtype == torch.float64
    small = Together((Categories.numbered(3), Images(1, 2, 2), SERIES))
    assert small.dtype == torch.float32
    codes = torch.tensor([[[MISSING, UNSEEN], [ABSENT, 7], [0, -3]]])
    again = small.split(small.join([torch.tensor([2]), torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), codes]))
    assert (again[0].tolist(), again[2].tolist()) == ([2], codes.tolist())
    assert again[1].tolist() == [[[[255, 255], [255, 255]]]]


@pytest.mark.parametrize("i", range(len(PARTS)))
def test_one_part_is_unknown_and_the_others_stay(i: int) -> None:
    x = [as_condition(part) for part in parts(5)]
    hidden = torch.tensor([True, False, True, False, False])
    mask = hidden.view(-1, *[1] * (x[i].ndim - 1))
    x[i] = torch.where(mask, unknown_like(x[i]), x[i])
    again = SPACE.split(SPACE.join(x))
    assert torch.equal(unknown(again[i]), hidden)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(x, again, strict=True))
    assert all(unknown(part).all() for part in SPACE.split(SPACE.unknown(2)))
    assert unknown(SPACE.unknown(2)).all()


def test_conditions_are_values_of_the_parts_by_order_or_name() -> None:
    space = Together((Vectors(2), Categories(("low", "high"))), ("point", "class"))
    expected = space.join([torch.tensor([[1.0, 2.0]] * 3), Categories.numbered(2).conditions([1, 0, None], 3)])
    value = ([1.0, 2.0], ["high", "low", -1])
    by_name = {"class": ["high", "low", -1], "point": [1.0, 2.0]}
    each = [([1.0, 2.0], "high"), {"class": "low", "point": [1.0, 2.0]}, {"point": [1.0, 2.0]}]
    for given in (value, list(value), by_name, each, expected, expected.numpy()):
        assert torch.equal(space.conditions(given, 3).nan_to_num(-1), expected.nan_to_num(-1))
    assert unknown(space.conditions((None, None), 2)).all()
    for wrong, message in (
        (([1.0, 2.0],), "2 values, one for each part, got 1"),
        ({"colour": 1}, "point, class, got 'colour'"),
        (([1.0, 2.0], "middle"), "got 'middle'"),
        ([([1.0, 2.0], 0)], "or 3 of them, got 1"),
        (torch.tensor([1.0, 2.0, 5.0]), "part|class: labels must be .* 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            space.conditions(wrong, 3)


def test_examples_of_other_parts_are_brought_in_by_name() -> None:
    space = Together((Vectors(1), Categories(("low", "high"))))
    other = Together((Vectors(1), Categories(("high", "low"))))
    x = other.join([torch.tensor([[0.5], [2.0]]), other.parts[1].conditions(["high", None], 2)])
    assert torch.equal(space.split(space.conform(x, other))[1], space.parts[1].conditions(["high", None], 2))
    assert not space.fits(other)
    with pytest.raises(ValueError, match="data must be"):
        space.conform(torch.zeros(2, 1), Vectors(1))


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="each without conditions"):
        Together((Vectors(1, given=Categories.numbered(2)),))
    with pytest.raises(ValueError, match="2 different names or none"):
        Together((Vectors(1), Vectors(1)), ("a", "a"))


def test_every_example_of_each_part_with_all_of_the_others() -> None:
    x, cell = Together((Categories.numbered(2), Images(1, 1, 2, 3))).support(0, 0.0)
    assert (len(torch.unique(x, dim=0)), cell) == (18, 1.0)


def test_a_condition_is_shown_by_its_parts_and_an_unknown_one_is_not() -> None:
    space = Together((Images(1, 2, 2), Categories(("a<b", "c"))))
    image, label = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([0])
    page = space.picture_of_one(space.join([image, label])[0])._repr_html_()
    assert "data:image/png" in page
    assert "a&lt;b" in page
    page = space.picture_of_one(space.join([space.parts[0].unknown(1), label])[0])._repr_html_()
    assert "data:image/png" not in page
    assert "a&lt;b" in page
