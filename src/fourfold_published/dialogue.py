"""Dialogues: turns as the tokens that a model of text goes on from, and the tokens of its answers as they come."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import final

import torch

from fourfold.core import GenerativeModel
from fourfold.machine.regular import json_object, text_of
from fourfold.runs.run import Run
from fourfold.tasks.language import Shaping, stable_text, stream, text_parts
from fourfold_published.gguf import source_of_tokenizer
from fourfold_published.rendering import render
from fourfold_published.transformers import open_tokenizer

__all__ = ["Dialogue", "chat_template", "template_of"]

PLAIN = ("You: ", "\nModel: ", "\n")
"""Before a question, before an answer and after it, for a model without a template of its own."""
PLAINLY = "This model has no chat template: it goes on with the dialogue as plain text."
"""A line for a person who talks with such a model."""
MARK = "\u2063{}\u2063"
"""Stands for the words of turn ``{}`` in a template: invisible, and in no text that people write."""


def chat_template(path: Path) -> tuple[str, dict[str, str]] | None:
    """The chat template of a published model and its special tokens, or ``None`` where it has none.

    Args:
        path: a folder of ``transformers`` or a GGUF file.
    """
    path = source_of_tokenizer(path)
    if path.is_file():
        tokenizer = open_tokenizer(path)
        template = getattr(tokenizer, "chat_template", None)
        symbols = {"bos_token": tokenizer.bos_token or "", "eos_token": tokenizer.eos_token or ""}
        return (template, symbols) if isinstance(template, str) else None
    settings, alone = path / "tokenizer_config.json", path / "chat_template.jinja"
    about = json_object(settings)
    template = text_of(alone) if alone.is_file() else about.get("chat_template")
    if not isinstance(template, str):
        return None
    values = {name: about.get(name) or "" for name in ("bos_token", "eos_token")}
    symbols = {name: value["content"] if isinstance(value, dict) else str(value) for name, value in values.items()}
    return template, symbols


@lru_cache(4)
def _template_at(path: Path) -> tuple[str, dict[str, str]] | None:
    return chat_template(path)


def template_of(run: Run) -> tuple[str, dict[str, str]] | None:
    """The chat template of a run of a published model. One that was trained here has none."""
    here = run.folder is None or (run.folder / "model.json").exists()
    return None if here or run.folder is None else _template_at(run.folder)


@final
@dataclass
class Dialogue:
    """A conversation with a model of text.

    Words of the turns are never read as special tokens: only those of the template are.

    Attributes:
        model: of text.
        template: the model's own chat template with its special tokens, or ``None``.
        shaping: the rules of drawing.
        length: tokens of an answer, at most.
        turns: the role and the content of each turn.
    """

    model: GenerativeModel
    template: tuple[str, dict[str, str]] | None = None
    shaping: Shaping = field(default_factory=Shaping)
    length: int = 256
    turns: list[dict[str, str]] = field(default_factory=list)
    seed: int = 0

    def ask(self, question: str) -> None:
        """Add a turn of the user."""
        self.turns.append({"role": "user", "content": question})

    def context(self) -> tuple[list[int], int]:
        """The tokens that the answer goes on from, and how many of the oldest turns did not fit into the context.

        Raises:
            ValueError: for a last turn that alone is too long.
        """
        _, estimand = text_parts(self.model)
        room = estimand.net.length - min(self.length, estimand.net.length // 2)
        for dropped in range(0, len(self.turns), 2):
            ids = self._ids(self.turns[dropped:])
            if len(ids) <= room:
                return ids, dropped
        raise ValueError(f"a turn must fit a context of {estimand.net.length} tokens, got a longer one: shorten it")

    def answer(self) -> Generator[str, None, None]:
        """The answer, token by token as it is drawn. The text so far becomes a turn when the caller stops."""
        space, _ = text_parts(self.model)
        ids, _ = self.context()
        ends = self._ends()
        tokens: list[int] = []
        prefix = ""
        try:
            for token in stream(self.model, ids, 1, self.seed + len(self.turns), self.shaping):
                tokens.append(int(token))
                text = space.show(torch.tensor(tokens))
                stop = next((at for end in ends if (at := text.find(end)) >= 0), None)
                over = tokens[-1] in self._end_tokens() or stop is not None or len(tokens) == self.length
                text = text[:stop].rstrip("\n") if over else stable_text(text, ends)
                new, prefix = text[len(prefix) :], max(prefix, text, key=len)
                yield new
                if over:
                    break
        finally:
            self.turns.append({"role": "assistant", "content": prefix})

    def score(self) -> tuple[float, int]:
        """Nats of the last answer given what came before it, by the model's own distribution, and its tokens.

        Raises:
            ValueError: where nothing was answered yet.
        """
        if not self.turns or self.turns[-1]["role"] != "assistant":
            raise ValueError("/score needs an answer, got none yet: ask something first")
        space, estimand = text_parts(self.model)
        answer = space.parse(self.turns[-1]["content"]).tolist()
        before = self._ids(self.turns[:-1])
        ids = torch.tensor([[*before, *answer][-estimand.net.length :]], device=self.model.device)
        with torch.no_grad():
            nats = estimand(ids)[0, ids.shape[1] - len(answer) :]
        return float(nats.sum()), len(answer)

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _ids(self, turns: list[dict[str, str]]) -> list[int]:
        """The tokens of turns, up to where the answer begins."""
        space, _ = text_parts(self.model)
        if self.template is None or space.tokenizer is None:
            before, between, after = PLAIN
            words = [
                (before if turn["role"] == "user" else between) + turn["content"] + (after if i % 2 else "")
                for i, turn in enumerate(turns)
            ]
            return space.parse("".join(words) + between.rstrip(" ")).tolist()
        marked = [turn | {"content": MARK.format(i)} for i, turn in enumerate(turns)]
        text = self._render(marked)
        ids: list[int] = []
        for i, turn in enumerate(turns):
            start, mark, text = text.partition(MARK.format(i))
            if not mark:
                raise ValueError(f"the model's chat template leaves out turn {i + 1}: begin anew with /reset")
            ids += [*space.tokenizer.marked_ids(start), *space.tokenizer.ids(turn["content"]).tolist()]
        return ids + space.tokenizer.marked_ids(text)

    def _render(self, turns: list[dict[str, str]]) -> str:
        assert self.template is not None
        template, symbols = self.template
        rendered = render(template, {"messages": turns, "add_generation_prompt": True, **symbols})
        return rendered.removeprefix(symbols.get("bos_token", ""))  # the start symbol is given by the model itself

    def _ends(self) -> list[str]:
        """Strings that end an answer of a model without a template."""
        return [] if self.template is not None else ["\nYou:", "\nModel:"]

    def _end_tokens(self) -> set[int]:
        space, _ = text_parts(self.model)
        return set() if space.tokenizer is None else set(space.tokenizer.ends)
