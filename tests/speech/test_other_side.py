"""Sounds with transcripts, read by a space of the other side, and sounds as examples of every protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch

from fourfold import checks
from fourfold.core import Pairs, Space, forgetful, unknown
from fourfold.data import DataError, load, read_all
from fourfold.paradigms import resolve
from fourfold.spaces import Categories, Lines, Together, Vectors
from fourfold_speech.space import Audio, wav


@pytest.mark.parametrize("given", [Categories(("low", "high")), Lines.of_bytes(9)], ids=["classes", "texts"])
def test_sounds_keep_the_promises_of_a_space(given) -> None:
    checks.check_space(Audio(900, 8000, given=given))


def test_no_sound_is_unknown_and_unknown_ones_stay_so() -> None:
    space, x = Audio(4, 8000), torch.tensor([[-1] * 4, [0] * 4, [-32768] * 4], dtype=torch.int16)
    cond, hidden = space.conditions(x, 3), space.unknown(2)
    assert not unknown(cond).any()
    assert torch.equal(space.examples_of(cond), x)
    assert unknown(hidden).all()
    assert unknown(forgetful(cond, 1.0)).all()
    both = Together((space, Vectors(1)))
    parts = both.split(both.join([torch.cat([cond, hidden]), torch.zeros(5, 1)]))
    assert unknown(parts[0]).tolist() == [False] * 3 + [True] * 2


def test_adversarial_means_pairing_for_sounds() -> None:
    assert resolve("adversarial", Audio(512, 8000)) == "adversarial/pairing"


@dataclass(frozen=True)
class Said(Space):
    """How many bytes a sound's transcript has, and how many of them are spaces, plus one: the other side of sounds."""

    most: int = 0
    unit = "nats"
    settings = ("tokens",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def check(self, x: torch.Tensor) -> None:
        self.check_shape(x)

    def examples(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 2, generator=generator)

    def conform(self, x: torch.Tensor, source: Space | None = None) -> torch.Tensor:
        return x.float()

    def reading(self) -> dict[str, object]:
        return {"rate": 8000, "seconds": 0.1}

    @classmethod
    def of_conditions(cls, pairs: Pairs, settings: Mapping[str, object]) -> Space:
        if pairs.cond is None:
            raise ValueError("has no transcripts: give some")
        return cls(most=int(settings["tokens"]), given=pairs.space.conditioned_on(None))

    def from_conditions(self, pairs: Pairs) -> Pairs:
        bytes_ = pairs.cond[:, : self.most]
        counts = torch.stack([(bytes_ < 256).sum(1), (bytes_ == ord(" ")).sum(1) + 1], 1)
        return Pairs(self, counts.float(), pairs.x)


def test_a_space_of_conditions_is_read_from_the_other_side(tmp_path, monkeypatch) -> None:
    pytest.importorskip("soundfile")
    texts = ["a", "a b", "a b c", "ab cd e"] * 10
    for i, text in enumerate(texts):
        (tmp_path / f"{i:02}.wav").write_bytes(wav(torch.full((800,), i + 1, dtype=torch.int16), 8000))
        (tmp_path / f"{i:02}.txt").write_text(text)
    for room in ("fourfold.data", "fourfold.data.errors"):
        monkeypatch.setattr(f"{room}.space_named", lambda name: Said)
    data = load(tmp_path, space="said", tokens="5", seed=3)
    expected = {(min(len(text), 5), text[:5].count(" ") + 1) for text in texts}
    assert {tuple(row) for row in data.train.x.int().tolist()} == expected
    assert data.space == Said(most=5, given=Audio(800, 8000))
    for row, sound in zip(data.train.x, data.train.cond, strict=True):
        text = texts[int(sound[0]) - 1]
        assert row.tolist() == [min(len(text), 5), text[:5].count(" ") + 1]
    again, _ = read_all(tmp_path, data.space)
    assert torch.equal(again.cond[:, 0], torch.arange(1, 41, dtype=torch.int16))
    (tmp_path / "bare").mkdir()
    for i in range(25):
        (tmp_path / "bare" / f"{i}.wav").write_bytes(wav(torch.full((800,), i + 1, dtype=torch.int16), 8000))
    with pytest.raises(DataError, match="bare: has no transcripts: give some"):
        load(tmp_path / "bare", space="said", tokens="5")
