"""The work of ``look``."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fourfold.cli.printing import print_line, results_of, say_notes, write_text
from fourfold.engine import Run
from fourfold.metrics import Measurement
from fourfold_web.cli import Look
from fourfold_web.quiz import Quiz, make_quiz, parse_answers

__all__ = ["ask", "look", "quiz_page"]


def look(command: Look) -> None:
    """Show examples in the terminal or on a page, and print the rate of right answers."""
    run = Run.load(command.run, command.device)
    dataset = run.test_set(command.data)
    say_notes(dataset)
    quiz = make_quiz(run.model, dataset, command.n, command.seed)
    in_lines = quiz.space.lines(quiz.x[:1]) is not None and sys.stdin.isatty() and command.out is None
    if command.answers is not None:
        answers = parse_answers(command.answers.read_text(encoding="utf-8"))
    elif in_lines:
        answers = ask(quiz, input)
    else:
        path = command.out or results_of(command.run) / "look.html"
        write_text(path, quiz_page(quiz, dataset.name))
        print_line(json.dumps({"examples": len(quiz), "written": str(path)}) if command.as_json else path)
        return
    score = quiz.score(answers)
    print_line(json.dumps(score.record(), indent=1) if command.as_json else in_words(score))


def in_words(score: Measurement) -> str:
    """The rate of right answers, and whether chance explains it."""
    share, low, high = (f"{100 * value:.1f} %" for value in (score.value, score.low, score.high))
    better = "significantly" if score.low > 0.5 else "not significantly"
    rate = f"right in {round(score.value * score.n)} of {score.n}: {share} ({low} to {high})"
    return f"{rate}; that is {better} better than the 50 % of chance"


def ask(quiz: Quiz, read: Callable[[str], str]) -> list[bool]:
    """Show one example after the other, and read an answer to each. The end of the input, or q, ends it.

    Args:
        quiz: whose space shows examples as lines.
        read: shows a question, and returns the line that answers it.
    """
    answers = list[bool]()
    for i, x in enumerate(quiz.x, 1):
        print_line(f"\n{i} of {len(quiz)}\n{quiz.space.lines(x[None])}")
        while len(answers) < i:
            try:
                word = read("real or drawn? [r/d, q ends] ").strip().lower()
            except EOFError:
                return answers
            if word == "q":
                return answers
            if word in ("r", "d", "real", "drawn"):
                answers += parse_answers(word)
    return answers


def quiz_page(quiz: Quiz, name: str) -> str:
    """The page that shows one example after the other, and counts the answers. It needs no other file."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    here = files("fourfold_web")
    script = here.joinpath("look.js").read_text(encoding="utf-8")
    return environment.from_string(here.joinpath("look.html.j2").read_text(encoding="utf-8")).render(
        name=Path(name).name,
        counted=quiz.space.item_name,
        pictures=[Markup(quiz.space.picture_of_one(x)._repr_html_()) for x in quiz.x],
        drawn=quiz.drawn.int().tolist(),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
