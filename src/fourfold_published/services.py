"""Services of models of text: a dialogue, and the words that may come next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from typing import ClassVar, final

from fourfold.core import GenerativeModel
from fourfold.runs.run import Run
from fourfold.runs.services import Input, Piece, Question, Service
from fourfold.tasks.language import text_parts
from fourfold_published.dialogue import PLAIN, PLAINLY, Dialogue, template_of
from fourfold_published.words import Completer

__all__ = ["Chat", "Keyboard"]

SUGGESTED = 3
"""Words that a keyboard offers."""

_completer = lru_cache(1)(Completer)
"""The keyboard of the last model: its tables of tokens take long, and it remembers the text so far."""


@final
class Chat(Service):
    """A dialogue, in the chat template of a published model, or as plain text."""

    title: ClassVar[str] = "Chat"
    reads: ClassVar[Input] = Input.DIALOGUE

    def fits(self, run: Run) -> bool:
        return _draws_text(run.model) and (template_of(run) is not None or _spells(run.model, "".join(PLAIN)))

    def note(self, run: Run) -> str:
        return "" if template_of(run) is not None else PLAINLY

    def answer(self, run: Run, question: Question) -> Iterator[Piece]:
        if len(question.texts) % 2 == 0:
            raise ValueError(f"a dialogue must end with a turn of a person, got {len(question.texts)} turns")
        roles = ("user", "assistant") * len(question.texts)
        turns = [{"role": role, "content": text} for role, text in zip(roles, question.texts, strict=False)]
        talk = Dialogue(run.model, template_of(run), question.shaping, question.length, turns, question.seed)
        with closing(talk.answer()) as parts:
            yield from map(Piece, parts)


@final
class Keyboard(Service):
    """The likeliest next words, as a phone's keyboard offers them."""

    title: ClassVar[str] = "Keyboard"
    reads: ClassVar[Input] = Input.TEXT

    def fits(self, run: Run) -> bool:
        return _draws_text(run.model)

    def answer(self, run: Run, question: Question) -> Iterator[Piece]:
        for word, probability in _completer(run.model).following("".join(question.texts), SUGGESTED):
            yield Piece(word, probability)


def _draws_text(model: GenerativeModel) -> bool:
    """Whether a model draws text token by token."""
    try:
        text_parts(model)
    except TypeError:
        return False
    return True


def _spells(model: GenerativeModel, text: str) -> bool:
    """Whether a model knows every character of a text."""
    try:
        text_parts(model)[0].parse(text)
    except ValueError:
        return False
    return True
