"""Examples that stand in training and test data are found, and left out, as a loop over all pairs does."""

import pydoc_data.topics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fourfold.data import DataError, Dataset, load
from fourfold.data.duplicates import PASSAGE, duplicate_notes, expected_matches, without_duplicates
from fourfold.data.source import Source
from fourfold.spaces import Text, Vectors


def note(dataset: Dataset) -> str:
    """The note on repeats. Empty if there is none."""
    return next((line for line in dataset.notes if "also stand in the training data" in line), "")


def passages(text: str) -> list[str]:
    return [text[i : i + PASSAGE] for i in range(len(text) - PASSAGE + 1)]


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300,000 letters of help texts, many of which stand in them several times."""
    path = tmp_path_factory.mktemp("topics") / "topics.txt"
    path.write_text("".join(pydoc_data.topics.topics.values())[:300_000], encoding="utf-8")
    return path


def test_a_text_that_repeats_itself_is_noted_with_the_share_and_the_way_out(topics: Path) -> None:
    text = topics.read_text(encoding="utf-8")
    train, test = passages(text[:270_000]), passages(text[285_000:])
    share = sum(map(set(train).__contains__, test)) / len(test)
    assert share > 0.7
    assert note(load(topics)).startswith(f"{100 * share:.2g} % of the test text")
    assert "--deduplicate" in note(load(topics))


def test_examples_that_stay_in_files_are_looked_at_too(tmp_path: Path) -> None:
    """A third of 90 pictures stands there twice. The way out is another one, since files stay as they are."""
    x = np.random.default_rng(0).integers(0, 255, (60, 4, 4), dtype=np.uint8)
    for i, picture in enumerate(np.concatenate([x, x[:30]])):
        Image.fromarray(picture).save(tmp_path / f"{7 * i % 90:02}.png")
    dataset = load(tmp_path, stream=True, fractions=(0.5, 0.5))
    train, test = ({picture.numpy().tobytes() for picture in part.x} for part in (dataset.train, dataset.test))
    share = sum(picture.numpy().tobytes() in train for picture in dataset.test.x) / len(dataset.test.x)
    assert train & test
    assert note(dataset).startswith(f"{100 * share:.2g} % of {len(dataset.test.x)} test")
    assert "--deduplicate" not in note(dataset)


def test_without_repeats_a_text_holds_each_passage_once(topics: Path) -> None:
    text = topics.read_text(encoding="utf-8")[:20_000]
    repeated, before = np.zeros(len(text), dtype=bool), set[str]()
    for i, passage in enumerate(passages(text)):
        repeated[i : i + PASSAGE] |= passage in before
        before.add(passage)
    assert repeated.sum() > 500
    space = Text("".join(sorted(set(text))), 64)
    source = without_duplicates("topics", Source(space.parse(text), space, "a text"))
    assert space.show(source.x) == "".join(letter for letter, gone in zip(text, repeated, strict=True) if not gone)
    assert f"left out {repeated.sum():,} of 20,000 tokens" in source.notes[-1]


def test_a_deduplicated_text_has_no_note_and_another_digest(topics: Path) -> None:
    dataset = load(topics, deduplicate=True)
    assert not note(dataset)
    assert dataset.digest != load(topics).digest
    assert len(dataset.train) < 250_000


@pytest.mark.parametrize("repeats", [0, 150])
def test_repeated_vectors_are_noted(repeats: int) -> None:
    x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    dataset = load(torch.cat([x, x[:repeats]]).numpy())
    pairs = (dataset.test.x[:, None] == dataset.train.x).all(-1).any(1).double().mean().item()
    assert note(dataset).startswith(f"{100 * pairs:.2g} % of {len(dataset.test)} test") == (repeats > 0)
    unique = load(torch.cat([x, x[:repeats]]).numpy(), deduplicate=True)
    assert len(unique.train) + len(unique.validation) + len(unique.test) == 1000


def test_coarse_data_repeat_by_chance() -> None:
    """Eight columns of two values: most rows stand in the training data, and no generator is to blame."""
    x = torch.randint(2, (2000, 8), generator=torch.Generator().manual_seed(0)).float()
    assert expected_matches(x) == pytest.approx(2000 / 2**8, rel=0.1)
    assert duplicate_notes(Vectors(8), x[:1600], x[1600:]) == ()
    assert duplicate_notes(Vectors(1), x[:1600, :1], x[1600:, :1]) == ()
    fine = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
    assert expected_matches(fine) == 0


def test_an_official_test_set_stays_and_its_examples_leave_the_training_data() -> None:
    x = torch.tensor([[1.0], [2.0], [1.0], [3.0], [4.0], [2.0], [2.0]])
    source = without_duplicates("x", Source(x, Vectors(1), "memory", cond=torch.arange(7), test=2))
    assert source.x.flatten().tolist() == [1, 3, 4, 2, 2]
    assert source.cond is not None
    assert source.cond.tolist() == [0, 3, 4, 5, 6]


def test_a_table_without_repeats_is_the_table_that_never_had_any() -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(300, 2)).round(6), columns=["a", "b"]).assign(
        c=random.choice([*"xyz"], 300)
    )
    twice = pd.concat([rows, rows[:80]], ignore_index=True)
    assert note(load(twice))
    alone, cut = load(rows), load(twice, deduplicate=True)
    assert cut.space == alone.space
    assert torch.equal(cut.train.x, alone.train.x)
    assert torch.equal(cut.test.x, alone.test.x)
    assert cut.notes[-1] == "left out 80 of 380 examples, which repeat others"


def test_a_series_stays_whole() -> None:
    frame = pd.DataFrame({"hour": range(200), "load": np.arange(200) % 7})
    assert not note(load(frame, order="hour", length=8))
    with pytest.raises(DataError, match="deduplicate must be left out for a series"):
        load(frame, order="hour", length=8, deduplicate=True)
