"""What a space answers: every method of every space, and what the house does where a space says nothing."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import fourfold
from fourfold import checks, spaces
from fourfold.core import Excerpts, GenerativeModel, Space
from fourfold.data import DataError, describe, load, read_all
from fourfold.data.writers import usual_suffix, write_examples
from fourfold.metrics import Draws, References
from fourfold.paradigms import build
from fourfold.spaces import (
    Categorical,
    Categories,
    Identifier,
    Images,
    Lines,
    Numeric,
    Sequences,
    Table,
    Text,
    Together,
    Vectors,
)
from fourfold.tasks.evaluation import evaluate

SPACES = [
    Vectors(1),
    Vectors(3, ("a", "b", "c"), given=Categories(("yes", "no"))),
    Images(1, 8, 8, 17, given=Categories.numbered(10)),
    Images(3, 4, 5, given=Lines.of_bytes(9)),
    Images(4, 4, 4),
    Text("abc\n", 40),
    Categories(("low", "high")),
    Lines(Text("abc", 5)),
    Lines.of_bytes(9),
    Text("", 9),
    Table(
        (
            Numeric("height", "float64", resolution=0.5, low=0, high=40, decimals=1),
            Categorical("colour", categories=tuple(f"shade {i}" for i in range(90))),
        )
    ),
    Sequences(
        (Identifier("user"), Numeric("when", high=90), Categorical("kind", categories=("a", "b"), missing=True)),
        "when",
        (0, 9),
        12,
        "user",
    ),
    Sequences((Numeric("when", high=90), Numeric("height", resolution=0.5, high=40, decimals=1)), "when", (1, 2), 6),
    Together((Vectors(2), Categories(("low", "high")), Images(1, 2, 2)), ("point", "class", "picture")),
    Together((Table((Categorical("kind", categories=("a", "b"), missing=True), Numeric("price", high=10**9))),)),
]


def every() -> Iterator[type[Space]]:
    """All concrete spaces of the package."""
    below = list(Space.__subclasses__())
    while below:
        kind = below.pop()
        below += kind.__subclasses__()
        if not inspect.isabstract(kind) and kind.__module__.partition(".")[0] == "fourfold":
            yield kind


def test_no_space_is_forgotten() -> None:
    public = {getattr(spaces, name) for name in spaces.__all__}
    assert {type(space) for space in SPACES} == set(every()) == {kind for kind in public if issubclass(kind, Space)}


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_every_space_keeps_its_promises(space: Space) -> None:
    checks.check_space(space)


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        ({"examples": lambda self, n, g: torch.zeros(n, 3)}, "examples have shape"),
        ({"examples": lambda self, n, g: torch.randn(n, 2)}, "other examples the second time"),
        ({"check": lambda self, x: None}, "was accepted"),
        ({"conform": lambda self, x, source=None: x + 1}, "conform changes examples"),
        ({"rows": lambda self, x: x[1:]}, "the rows of a raw set"),
        ({"picture": lambda self, x, references=None, columns=None: "a text"}, "picture returns"),
        ({"measures": lambda self, x, references, features=None: iter(())}, "there are no measures"),
        ({"check_features": lambda self, features: None}, "feature space that does not exist was accepted"),
        ({"table": lambda self, x: Space.table(self, x.round())}, "not read as it was written"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_check_of_spaces_can_fail(monkeypatch: pytest.MonkeyPatch, break_: dict, message: str) -> None:
    for name, value in break_.items():
        monkeypatch.setattr(Vectors, name, value)
    with pytest.raises(checks.CheckFailed, match=message):
        checks.check_space(Vectors(2))


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "counted", "window", "suffix", "text"),
    [
        (Vectors(2), "examples", None, ".csv", None),
        (Images(1, 2, 2), "examples", None, ".png", None),
        (Text("ab", 2), "tokens", 2, ".txt", "ab\n\nbb"),
    ],
    ids=repr,
)
def test_counting_and_files(space: Space, counted: str, window: int, suffix: str, text: str) -> None:
    assert (space.item_name, space.window, usual_suffix(space)) == (counted, window, suffix)
    x = torch.tensor([[0, 1], [1, 1]]) if window else space.examples(2, torch.Generator())
    assert space.lines(x) == text


def test_a_condition_is_of_any_space() -> None:
    captions, classes = Lines.of_bytes(7), Categories(("a", "b"))
    assert Vectors(2).conditioned_on(classes) == Vectors(2, given=classes)
    assert Images(1, 2, 2, given=classes).conditioned_on(captions) == Images(1, 2, 2, given=captions)
    assert Images(1, 2, 2, given=captions).conditioned_on(None) == Images(1, 2, 2)
    assert Text("ab", 2).conditioned_on(Vectors(3)).given == Vectors(3)


@pytest.mark.parametrize(
    ("space", "given", "fits"),
    [
        (Vectors(2), Vectors(2, ("a", "b")), True),
        (Vectors(2, ("a", "b")), Vectors(2, ("column 1", "column 2")), True),
        (Vectors(2, ("a", "b")), Vectors(2, ("b", "a")), False),
        (Vectors(2), Vectors(3), False),
        (Vectors(4), Images(1, 2, 2), False),
        (Images(1, 2, 2), Images(1, 2, 2, 17, given=Categories.numbered(3)), True),
        (Images(1, 2, 2), Images(1, 2, 3), False),
        (Text("ab", 4), Text("ab", 4), True),
        (Text("ab", 4), Text("ba", 4), False),
        (Text("ab", 4), Vectors(4), False),
    ],
    ids=repr,
)
def test_what_fits(space: Space, given: Space, fits: bool) -> None:
    assert space.fits(given) == fits
    if not fits:
        with pytest.raises(ValueError, match=r"data must be .*, got .*; give data of the same kind, size and columns"):
            space.require(given)


def test_examples_from_elsewhere_conform() -> None:
    assert Vectors(2).conform(torch.ones(3, 2, dtype=torch.float64)).dtype == torch.float32
    assert Vectors(2).conform(torch.ones(3, 2, dtype=torch.int64)).dtype == torch.float32
    ids = Text("ba", 2).conform(torch.tensor([0, 1, 1]), Text("ab", 3))
    assert ids.tolist() == [1, 0, 0]
    assert Text("", 2).conform(torch.tensor([0, 1]), Text("é𝄞", 2)).tolist() == list("é𝄞".encode())
    with pytest.raises(ValueError, match="'b' at position 1 is not in the vocabulary"):
        Text("a", 2).conform(torch.tensor([0, 1]), Text("ab", 2))
    with pytest.raises(ValueError, match=r"data must be text.*, got real vectors of 2 columns"):
        Text("a", 2).conform(torch.zeros(3, 2), Vectors(2))


def test_streams_are_cut_and_parsed() -> None:
    assert Text("ab", 2).rows(torch.tensor([0, 1, 1, 0, 1])).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="1 tokens are fewer than one window of 2: give a longer text"):
        Text("ab", 2).rows(torch.tensor([0]))
    assert Text("ab", 2).parse_bytes(b"\xef\xbb\xbfabz", 2).tolist() == [0, 1]  # nothing behind the limit is refused
    with pytest.raises(ValueError, match=r"implement Vectors\.parse_bytes"):
        Vectors(2).parse_bytes(b"1,2")


def test_everything_there_is() -> None:
    x, cell = Images(1, 1, 2, 3).support(0, 0.0)
    assert (len(torch.unique(x, dim=0)), cell) == (9, 1.0)
    x, cell = Text("abc", 3).support(0, 0.0)
    assert (len(torch.unique(x, dim=0)), cell) == (27, 1.0)
    x, cell = Vectors(2).support(401, 8.0)
    normal = (-0.5 * x.double().square().sum(1)).exp() / (2 * math.pi)
    assert abs(float(normal.sum()) * cell - 1) < 1e-6
    for space, message in (
        (Vectors(3), "1 or 2 columns, got 3"),
        (Images(1, 8, 8), r"20,000 .*256\^64"),
        (Text("abc", 20), "texts"),
    ):
        with pytest.raises(ValueError, match=message):
            space.support(10, 1.0)


def test_constant_columns_are_refused_and_named() -> None:
    x = torch.stack([torch.arange(9.0), torch.full((9,), 2.5)], 1)
    with pytest.raises(ValueError, match=r"column b must vary to have a density, got 2.5 in every training row"):
        Vectors(2, ("a", "b")).check_training(x)
    Images(1, 2, 2).check_training(torch.zeros(9, 1, 2, 2, dtype=torch.uint8))


def references(good: torch.Tensor, n: int, raw: torch.Tensor | None = None) -> References:
    rows = torch.stack([torch.randperm(2 * n, generator=torch.Generator().manual_seed(i))[:n] for i in range(10)])
    return References(
        Draws(good[: 2 * n], rows), good[2 * n : 3 * n], None, good[3 * n :], good if raw is None else raw
    )


def data_of(space: Space, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples of something, and wrong samples of it."""
    generator = torch.Generator().manual_seed(0)
    wrong = space.examples(n, generator)
    if isinstance(space, Vectors):
        return 0.3 * torch.randn(n, space.dim, generator=generator) + 1, wrong
    if isinstance(space, Text):
        return torch.arange(n)[:, None].add(torch.arange(space.length)).remainder(space.tokens), wrong
    return (wrong.double().mean((2, 3), keepdim=True).expand(wrong.shape) + wrong % 3).to(torch.uint8), wrong


@pytest.mark.parametrize("space", [Vectors(2), Images(1, 8, 8), Text("abcd", 40)], ids=repr)
def test_the_headline_tells_a_wrong_sample_from_a_right_one(space: Space) -> None:
    n = 100
    good, wrong = data_of(space, 5 * n)
    reference = references(good[: 4 * n], n, good[: 4 * n].flatten() if space.window else None)
    right, other = (next(space.measures(x, reference)) for x in (good[4 * n :], wrong[4 * n :]))
    assert right.better == "lower"
    assert right.value <= max(right.floor_high, 1e-9)
    assert other.low > right.floor_high
    names = [score.name.partition("[")[0] for score in space.measures(good[4 * n :], reference)]
    assert (
        names
        == {
            Vectors: ["mmd²", "precision", "recall", "density", "coverage", "frechet_distance", "memorisation_ratio"],
            Images: [
                *("frechet_distance", "precision", "recall", "density", "coverage"),
                *("mmd²", "detail_ratio", "memorisation_ratio"),
            ],
            Text: ["ngram_divergence", "ngram_divergence", "ngram_divergence", "repetition", "copied"],
        }[type(space)]
    )


def test_feature_spaces_are_checked_before_anything_is_measured() -> None:
    with pytest.raises(ValueError, match=r"features must be one of pixels, .*got 'colours'"):
        Images(1, 8, 8).check_features("colours")
    for space in (Vectors(2), Text("ab", 4)):
        with pytest.raises(ValueError, match=f"features must be left out for {type(space).__name__}, got 'pixels'"):
            space.check_features("pixels")
    assert Images(1, 8, 8).default_features == "pixels"


# --- a space that says little -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bare(Space):
    """Two positive numbers: only what must be said."""

    unit = "nats"

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def check(self, x: torch.Tensor) -> None:
        self.check_shape(x)
        if not bool((x > 0).all()):
            raise ValueError("numbers of this space are positive: take their exponentials")

    def examples(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 2, generator=generator) + 0.1

    def conform(self, x: torch.Tensor, source: Space | None = None) -> torch.Tensor:
        return x.float()


def bare_model() -> GenerativeModel:
    model = build("autoregressive", Vectors(2), "xs")
    return GenerativeModel(**model.arguments() | {"space": Bare()})


def test_a_space_that_says_only_what_it_must_is_trained_sampled_scored_and_written(tmp_path) -> None:
    x = np.exp(np.random.default_rng(0).normal(size=(200, 2)))
    data = load(x, space=Bare())
    assert "examples of Bare of shape (2,)" in describe(data)
    run = fourfold.fit(bare_model(), data, budget="2 steps", precision="float32", out=tmp_path / "run")
    assert math.isfinite(run.log_prob(x[:5]).nats.sum())
    again = fourfold.Run.load(tmp_path / "run", trust=[Bare])
    assert torch.equal(again.sample(3), run.sample(3))
    assert write_examples(tmp_path / "a.csv", run.sample(3), run.model.space).read_text().splitlines()[0] == "x0,x1"
    np.save(tmp_path / "x.npy", -x)
    with pytest.raises(DataError, match=r"x\.npy: numbers of this space are positive: take their exponentials"):
        read_all(tmp_path / "x.npy", Bare())
    assert isinstance(Bare().picture(torch.ones(3, 2)), Excerpts)


def test_a_space_without_measures_is_refused_before_anything_is_drawn_or_trained(monkeypatch, tmp_path) -> None:
    data, model = load(np.ones((200, 2)) + np.arange(200)[:, None], space=Bare()), bare_model()
    monkeypatch.setattr(GenerativeModel, "sample", lambda *args, **settings: pytest.fail("drawn"))
    line = r"^Bare must have measures\(x, references, features\), got none: "
    with pytest.raises(TypeError, match=line):
        evaluate(model, data)
    with pytest.raises(TypeError, match=line):
        fourfold.compare(data, runs_dir=tmp_path / "runs", out=tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
