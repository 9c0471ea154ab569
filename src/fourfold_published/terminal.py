"""The work of ``chat``, ``complete``, ``speculate`` and ``export``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from fourfold.cli.printing import print_data, print_line, say
from fourfold.data.files import content_of, decoded
from fourfold.engine import Run
from fourfold.output.printable import printable
from fourfold.spaces import Text
from fourfold.tasks.language import Shaping, text_parts
from fourfold_published.commands import Chat, Complete, Export, Speculate
from fourfold_published.dialogue import PLAINLY, Dialogue, template_of
from fourfold_published.pipelines import write_pipeline
from fourfold_published.speculation import Draft, generate
from fourfold_published.transformers import write_language_model
from fourfold_published.words import Completer, keystrokes

__all__ = ["chat", "complete", "export", "speculate"]


def chat(command: Chat) -> None:
    """Answer each line of the user."""
    run = Run.load(command.run, command.device, opening=command.opening)
    text_parts(run.model)
    template = template_of(run)
    shaping = Shaping(temperature=command.temperature, top_k=command.top_k, top_p=command.top_p)
    if template is None:
        say(PLAINLY)
    talk = Dialogue(run.model, template, shaping, command.length, seed=command.seed)
    while (line := _line("you: ")) is not None:
        if line == "/quit":
            break
        _respond(talk, line.strip())


def _line(prompt: str) -> str | None:
    """A line of the user. ``None`` at the end of the input."""
    try:
        return input(prompt if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        return None


def _respond(talk: Dialogue, line: str) -> None:
    """Do what a line asks for: a command, or an answer that is printed as it comes."""
    if not line:
        return
    if line == "/reset":
        talk.turns.clear()
        say("begun anew")
        return
    try:
        if line == "/score":
            nats, tokens = talk.score()
            print_line(f"log p(answer | dialogue) = {nats:.2f} nats, {tokens} tokens, {nats / max(tokens, 1):.2f} each")
            return
        talk.ask(line)
        dropped = talk.context()[1]
    except ValueError as error:
        say(error)
        if talk.turns and talk.turns[-1]["role"] == "user":
            talk.turns.pop()
        return
    if dropped:
        say(f"the first {dropped} turns no longer fit into the context and are left out")
    _print_answer(talk)


def _print_answer(talk: Dialogue) -> None:
    """Print an answer token by token. Ctrl-C ends it."""
    answer = talk.answer()
    try:
        for part in answer:
            sys.stdout.write(printable(part, keep="\n\t"))
            sys.stdout.flush()
    except KeyboardInterrupt:
        answer.close()
        sys.stdout.write(" ...")
    sys.stdout.write("\n")
    sys.stdout.flush()


def complete(command: Complete) -> None:
    """Print the likeliest next words of each line, or the keystrokes that they save."""
    keyboard = Completer(Run.load(command.run, command.device, opening=command.opening).model)
    if command.measure is not None:
        _measure(keyboard, command.measure, command.words, command.as_json)
        return
    for line in [command.text] if command.text is not None else map(str.rstrip, sys.stdin):
        words = keyboard.following(line.rstrip("\r\n"), command.n)
        row = "  ".join(f"{word} {mass:.0%}" for word, mass in words)
        print_line(json.dumps(words, ensure_ascii=False) if command.as_json else row or "no word")


def _measure(keyboard: Completer, path: Path, most: int, as_json: bool) -> None:
    """Print the keystrokes that suggestions save on a text."""
    text = decoded(path, content_of(path))
    savings = keystrokes(lambda prefix: [word for word, _ in keyboard.suggest(prefix)], text, most)
    if as_json:
        print_line(json.dumps(asdict(savings)))
        return
    print_line(f"{savings.words} words: {savings.saved:.1%} of the keystrokes saved")
    print_line(f"first suggestion right {savings.top1:.1%}, one of three {savings.top3:.1%}, before a letter is typed")
    print_line(f"95 % of the suggestions within {1000 * savings.p95:.1f} ms")


def speculate(command: Speculate) -> None:
    """Print texts, and the share of the draft's tokens that were accepted."""
    model = Run.load(command.run, command.device, opening=command.opening).model
    draft = Draft(Run.load(command.draft, command.device).model)
    shaping = Shaping(temperature=command.temperature, top_k=command.top_k, top_p=command.top_p)
    continuations = generate(
        model,
        draft,
        command.given,
        n=command.n,
        length=command.length,
        seed=command.seed,
        shaping=shaping,
        stop=command.stop or [],
    )
    texts = [command.given + text for text in continuations]
    print_data(json.dumps(texts, indent=1, ensure_ascii=False) if command.as_json else "\n\n".join(texts))
    for line in filter(None, [shaping.words, str(draft)]):
        say(line)


def export(command: Export) -> None:
    """Write a folder for transformers or diffusers."""
    if command.folder.exists() and any(command.folder.iterdir()):
        raise ValueError(f"{command.folder} must be an empty folder, got one with files: give another")
    model = Run.load(command.run, "cpu").model
    if isinstance(model.space, Text):  # only text has a tokenizer to write
        if command.given is not None:
            raise ValueError("--given must be left out for a model of text: it is for models of images")
        print_line(write_language_model(model, command.folder))
        return
    label = model.space.encode_condition(command.given, 1)
    print_line(write_pipeline(model, command.folder, -1 if label is None else int(label)))
