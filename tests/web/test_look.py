"""A quiz of real and drawn examples: who knows the truth is always right, and who guesses is right half the time."""

import base64
import hashlib
import math
import re
from pathlib import Path

import pytest
import torch

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import Dataset
from fourfold.main import run
from fourfold_web.look import ask, quiz_page
from fourfold_web.quiz import Quiz, make_quiz, parse_answers


@pytest.fixture(scope="module")
def data() -> Dataset:
    return fourfold.load("digits", limit=600)


@pytest.fixture(scope="module")
def model(data: Dataset) -> GenerativeModel:
    torch.manual_seed(0)
    return fourfold.build("flow", fourfold.load("digits").space, "xs").eval()


def test_drawn_examples_are_samples_and_the_others_are_test_examples(model: GenerativeModel, data: Dataset):
    quiz = make_quiz(model, data, 40, seed=3)
    test = {bytes(x.to(torch.uint8).flatten().tolist()) for x in data.test.x}
    real = torch.tensor([bytes(x.to(torch.uint8).flatten().tolist()) in test for x in quiz.x])
    assert torch.equal(~real, quiz.drawn)
    assert 8 < int(quiz.drawn.sum()) < 32
    assert torch.equal(make_quiz(model, data, 40, seed=3).x, quiz.x)
    assert not torch.equal(make_quiz(model, data, 40, seed=4).drawn, quiz.drawn)
    with pytest.raises(ValueError, match="n must be at least 1, got -5"):
        make_quiz(model, data, -5)


def test_the_rate_has_the_interval_of_wilson():
    quiz = Quiz(fourfold.Vectors(1), torch.zeros(40, 1), torch.arange(40) < 20)
    score = quiz.score([i < 27 for i in range(40)])  # 7 real ones are taken for drawn
    p, n, z = 33 / 40, 40, 1.96
    assert score.value == p
    for end in (score.low, score.high):  # the ends solve |p - q| = z sqrt(q (1 - q) / n)
        assert abs(p - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n))
    assert quiz.score(quiz.drawn.tolist()).value == 1
    assert quiz.score([True] * 3).n == 3
    for answers in ([], [True] * 41):
        with pytest.raises(ValueError, match=f"1 to 40, got {len(answers)}"):
            quiz.score(answers)


def test_answers_are_words_or_letters():
    assert parse_answers("r D real\ndrawn") == [False, True, False, True]
    with pytest.raises(ValueError, match="answer 2 must be real or drawn"):
        parse_answers("r maybe")


def test_the_terminal_asks_again_and_ends_when_told(capsys: pytest.CaptureFixture[str]):
    text = fourfold.Text(vocabulary="ab", length=4)
    quiz = Quiz(text, torch.tensor([[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]]), torch.tensor([True, False, True]))
    lines = iter(["what", "d", "r", "q"])
    assert ask(quiz, lambda question: next(lines)) == [True, False]
    shown = capsys.readouterr().out
    assert shown.index("abab") < shown.index("bbbb") < shown.index("aaaa")

    def nothing(question: str) -> str:
        raise EOFError

    assert ask(quiz, nothing) == []


def test_the_page_shows_every_example_and_runs_its_own_script_alone(model: GenerativeModel, data: Dataset):
    quiz = make_quiz(model, data, 12)
    page = quiz_page(quiz, "digits")
    assert [int(flag) for flag in re.findall(r'data-drawn="(\d)"', page)] == quiz.drawn.int().tolist()
    assert page.count("<img") == 12
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "http:" not in page.replace("http://www.w3.org", "")


def test_the_command_counts_the_answers_of_a_file(
    model: GenerativeModel, data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole = fourfold.load("digits")
    fourfold.Run(model, data=whole).save(tmp_path / "run")
    quiz = make_quiz(model, whole, 20)
    answers = tmp_path / "answers.txt"
    answers.write_text(" ".join("d" if drawn else "r" for drawn in quiz.drawn.tolist()))
    words = ["look", str(tmp_path / "run"), "digits", "-n", "20"]
    assert run([*words, "--answers", str(answers)], False) == 0
    assert "right in 20 of 20: 100.0 % (83.9 % to 100.0 %); that is significantly better" in capsys.readouterr().out
    assert run([*words, "--out", str(tmp_path / "page.html")], False) == 0
    assert (tmp_path / "page.html").read_text().count('class="example"') == 20
