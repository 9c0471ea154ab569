"""No example of a space is taken for an unknown condition, and an unknown one stays so on every way."""

import numpy as np
import pandas as pd
import pytest
import torch

from fourfold.core import forgetful, unknown, unknown_like
from fourfold.nn.reading import reading
from fourfold.spaces import Categories, Images, Lines, Numeric, Sequences, Table, Text, Together, Vectors
from fourfold.spaces.columns import MISSING

NUMBER = Table((Numeric("change", low=-3, high=3, missing=True),))
SERIES = Sequences((Numeric("day", high=9), Numeric("change", low=-3, high=3)), "day", length=2)
EXTREMES = {
    "a number of a table": (NUMBER, torch.tensor([[-1], [0], [MISSING]])),
    "rows over time": (SERIES, torch.tensor([[[1, -1], [1, -1]], [[0, 0], [0, 0]]])),
    "a white picture": (Images(1, 2, 2), torch.tensor([255, 0]).to(torch.uint8).view(-1, 1, 1, 1).expand(2, 1, 2, 2)),
    "a label": (Categories.numbered(2), torch.tensor([0, 1])),
    "numbers": (Vectors(2), torch.tensor([[-1.0, -1.0], [0.0, 0.0]])),
    "a text": (Lines.of_bytes(2), Lines.of_bytes(2).parse(["", "a"])),
    "a piece of text": (Text("ab", 2), torch.tensor([[0, 0], [1, 1]], dtype=torch.uint8)),
}


@pytest.mark.parametrize(("space", "x"), EXTREMES.values(), ids=EXTREMES)
def test_no_example_is_unknown_and_unknown_ones_stay_so(space, x):
    cond = space.conditions(x, len(x))
    assert not unknown(x).any()
    assert not unknown(cond).any()
    assert torch.equal(space.examples_of(cond).double(), x.double())
    hidden = space.unknown(3)
    assert unknown(hidden).all()
    assert unknown(space.conditions(hidden, 3)).all()
    assert unknown(forgetful(cond, 1.0)).all()
    both = Together((space, Vectors(1)))
    joined = both.join([torch.cat([cond, hidden]), torch.zeros(len(cond) + 3, 1)])
    parts = both.split(joined)
    assert unknown(parts[0]).tolist() == [False] * len(cond) + [True] * 3
    assert torch.equal(parts[0][: len(cond)].double(), cond.double())


def test_a_network_reads_minus_one_as_a_number():
    """Before, the code -1 of a column that stands alone was read as an unknown row."""
    net = reading(NUMBER)
    net.fit(torch.arange(-3, 4)[:, None])
    torch.nn.init.normal_(net.unknown)
    codes = torch.tensor([[-2], [-1], [0]])
    out = net(codes, 3)
    assert not (out == net.unknown).all(1).any()
    standard = net.vectors(codes)[:, 0]
    torch.testing.assert_close(standard[1] - standard[0], standard[2] - standard[1])
    assert torch.equal(net(unknown_like(codes), 3), net(None, 3))


def test_a_label_may_be_left_out_by_minus_one_or_none():
    space = Categories(("cat", "dog"))
    for value in (torch.tensor([1, -1]), [1, -1], ["dog", None], ["dog", -1], space.conditions([1, -1], 2)):
        assert unknown(space.conditions(value, 2)).tolist() == [False, True]
    assert unknown(space.conditions(-1, 3)).all()
    net = reading(space)
    assert torch.equal(net(torch.tensor([1, -1]), 2), net(space.conditions(["dog", None], 2), 2))
    with pytest.raises(ValueError, match="-1: unknown"):
        space.conditions([0, -2], 2)
    assert space.condition_table(space.conditions(["dog", None], 2))["label"].tolist() == ["dog", ""]


@pytest.mark.parametrize("space", [Categories(("cat", "dog")), Lines.of_bytes(3)], ids=["labels", "texts"])
def test_texts_stand_in_lists_arrays_and_columns_of_frames(space):
    """A gap is unknown, whether the column says it by ``None``, NaN or NA."""
    expected = space.conditions(["dog", None, "cat"], 3)
    assert unknown(expected).tolist() == [False, True, False]
    for column in (["dog", None, "cat"], ["dog", np.nan, "cat"]):
        for dtype in (object, "string"):
            assert torch.equal(space.conditions(pd.Series(column, dtype=dtype), 3), expected)
    assert torch.equal(space.conditions(np.array(["dog", "cat"]), 2), expected[[0, 2]])
    assert torch.equal(space.conditions(np.array("dog"), 2), expected[[0, 0]])


@pytest.mark.parametrize("space", [Vectors(2), Images(1, 2, 2), Categories(("cat", "dog")), Lines.of_bytes(3)])
@pytest.mark.parametrize("value", [None, [[1.0, None]], [[1, 2], [3]], np.array([], dtype=str)], ids=str)
def test_a_condition_that_is_no_array_of_numbers_is_refused_in_one_line(space, value):
    with pytest.raises(ValueError, match=r"^the condition must be [^\n]*got [^\n]*$"):
        space.conditions(value, 2)


def test_a_picture_of_holes_alone_is_unknown():
    x = torch.full((2, 1, 2, 2), -1, dtype=torch.int16)
    x[1, 0, 0, 0] = 7
    assert unknown(Images(1, 2, 2).conditions(x, 2)).tolist() == [True, False]
