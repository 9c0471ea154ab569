import pytest
import torch

from fourfold.core import configuration, construct
from fourfold.spaces import Categories, Images, Text, Vectors

SPACES = [
    Vectors(3),
    Vectors(2, ("a", "b"), given=Categories(("yes", "no"))),
    Images(3, 4, 5),
    Images(1, 8, 8, 17, given=Categories.numbered(10)),
    Text("abc", 7),
    Text(),
]


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_configuration_round_trips(space):
    assert construct(configuration(space)) == space


@pytest.mark.parametrize(
    ("space", "dims", "unit"),
    [
        (Vectors(3), 3, "nats"),
        (Images(3, 4, 5), 60, "bits/dim"),
        (Text("abc", 7), 7, "nats/char"),
        (Text("", 9), 9, "bits/byte"),
    ],
)
def test_dims_and_unit(space, dims, unit):
    assert space.dims == dims
    assert space.unit == unit


@pytest.mark.parametrize(
    ("space", "x", "message"),
    [
        (Vectors(2), torch.zeros(4, 3), r"shape \(B, 2\)"),
        (Vectors(2), torch.zeros(4, 2, dtype=torch.long), "floating point"),
        (Vectors(2), torch.tensor([[0.0, 1.0], [0.0, float("nan")]]), "row 1, column 1"),
        (Vectors(2, ("age", "height")), torch.tensor([[float("inf"), 1.0]]), "row 0, column age"),
        (Images(1, 2, 2), torch.zeros(3, 1, 2, 2), "uint8"),
        (Images(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8), "shape"),
        (Images(1, 2, 2, 17), torch.full((3, 1, 2, 2), 17, dtype=torch.uint8), "from 0 to 16, got .* image 0"),
        (Text("ab", 4), torch.zeros(4, dtype=torch.long), "integer ids"),
        (Text("ab", 4), torch.zeros(1, 4), "integer ids"),
        (Text("ab", 4), torch.full((1, 4), 2), "from 0 to 1, got"),
        (Text("ab", 4), torch.full((1, 4), -1), "from 0 to 1, got"),
    ],
)
def test_foreign_batches_are_refused(space, x, message):
    with pytest.raises(ValueError, match=message):
        space.check(x)


def test_fitting_batches_pass():
    Vectors(2).check(torch.randn(4, 2))
    Images(1, 2, 2, 17).check(torch.full((3, 1, 2, 2), 16, dtype=torch.uint8))
    Images(1, 2, 2).check(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8))
    Images(1, 2, 2, 17).check(torch.zeros((0, 1, 2, 2), dtype=torch.uint8))
    Text("ab", 4).check(torch.ones(2, 9, dtype=torch.long))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Vectors(0),
        lambda: Vectors(2, ("a",)),
        lambda: Categories(()),
        lambda: Categories(("a", "a")),
        lambda: Images(0, 2, 2),
        lambda: Images(1, 2, 2, 1),
        lambda: Images(1, 2, 2, 257),
        lambda: Text("aa"),
        lambda: Text("ab", 0),
    ],
)
def test_impossible_spaces_are_refused(make):
    with pytest.raises(ValueError, match=r"columns|images|names|text"):
        make()


def test_text_parses_and_shows():
    space = Text("\nbaé𝄞", 5)
    ids = space.parse("ab𝄞é\n")
    assert ids.tolist() == [2, 1, 4, 3, 0]
    assert space.show(ids) == "ab𝄞é\n"
    assert space.parse("").shape == (0,)
    assert space.tokens == 5


def test_bytes_parse_and_show():
    space = Text()
    assert space.show(space.parse("é𝄞\0")) == "é𝄞\0"
    assert space.parse_bytes(b"\xff\x00").tolist() == [255, 0]
    assert space.show(torch.tensor([255])) == "\ufffd"
    assert space.tokens == 256


def test_foreign_characters_are_named_with_their_position():
    with pytest.raises(ValueError, match="'x' at position 2"):
        Text("abc").parse("abxc")
    with pytest.raises(ValueError, match="'\\\\uffff' at position 0"):
        Text("abc").parse("\uffff")


def test_the_file_of_a_space_is_no_part_of_its_name_in_a_run():
    """A file may be moved, and runs stay valid."""
    for space in SPACES:
        assert configuration(space)["type"] == f"fourfold.spaces:{type(space).__name__}"
