"""Words cut out of recordings for the benchmark of transcription: the alignment against all paths, and the cuts."""

import itertools
import random
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("soxr")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from speech_data import Spoken
from transcription import Words, likeliest_path

BLANK = 2


@pytest.mark.parametrize("ids", [[0], [0, 1], [1, 1], [0, 0, 1]])
@pytest.mark.parametrize("seed", range(3))
def test_the_likeliest_path_is_the_best_of_all(ids: list[int], seed: int) -> None:
    names = np.log(np.random.default_rng(seed).dirichlet([0.5, 0.5, 0.5], 6))

    def spelled(path: tuple[int, ...]) -> list[int]:
        return [symbol for symbol, _ in itertools.groupby(path) if symbol != BLANK]

    every = [path for path in itertools.product(range(3), repeat=6) if spelled(path) == ids]
    best = max(every, key=lambda path: sum(names[t, symbol] for t, symbol in enumerate(path)))
    ends = list(itertools.accumulate(len(list(group)) for _, group in itertools.groupby(best)))
    groups = [(symbol, ([0, *ends][i], ends[i] - 1)) for i, (symbol, _) in enumerate(itertools.groupby(best))]
    assert likeliest_path(names, np.array(ids), BLANK) == [frames for symbol, frames in groups if symbol != BLANK]


def test_a_text_without_room_has_no_path() -> None:
    names = np.zeros((2, 3))
    assert likeliest_path(names, np.array([0, 0]), BLANK) is None
    assert likeliest_path(names, np.array([0, 1]), BLANK) == [(0, 0), (1, 1)]


def test_words_are_cut_with_their_sound() -> None:
    wave = np.concatenate([np.full(800, level, np.float32) for level in (0.1, 0.2, 0.3, 0.4)])
    words = Words(Spoken("one two three four", wave, 8000, "prompt"), (0, 800, 1600, 2400, 3200))
    part = words.span(1, 3)
    assert part.words == "two three"
    assert len(part.wave) == 1600
    assert part.wave[400] == np.float32(0.2)
    assert part.wave[1200] == np.float32(0.3)
    assert part.wave[0] == part.wave[-1] == 0
    draw = random.Random(0)
    texts = {words.some(draw, 2).words for _ in range(200)}
    assert texts == {"one", "two", "three", "four", "one two", "two three", "three four"}
