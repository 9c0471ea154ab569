"""The commands of the wing: ``chat``, ``complete`` and ``speculate`` for models of text, and ``export``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourfold.cli.options import AsJson, Device, Folder, Seed, Temperature, TopK, TopP, Weights
from fourfold.cli.printing import print_data, print_line, say
from fourfold.machine.threads import set_threads
from fourfold.output.printable import printable

if TYPE_CHECKING:
    from fourfold_published.dialogue import Dialogue
    from fourfold_published.words import Completer

__all__ = ["chat", "complete", "export", "speculate"]


def chat(
    run: Folder,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    length: Annotated[int, typer.Option(help="The most tokens of an answer.", min=1, metavar="N")] = 256,
    seed: Seed = 0,
    weights: Weights = "float32",
    device: Device = "auto",
) -> None:
    """Talk with a model of text.

    A published model gets the dialogue in its own chat template. A model without
    one continues it as plain text.

    Ctrl-C stops an answer. /score shows the nats of the last answer, /reset
    begins anew, /quit ends.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold.tasks.language import Shaping, text_parts
    from fourfold_published.dialogue import Dialogue, chat_template

    loaded = Run.load(run, device, weights=weights)
    text_parts(loaded.model)
    template = None if (run / "model.json").exists() else chat_template(run)
    shaping = Shaping(temperature=temperature, top_k=top_k, top_p=top_p)
    if template is None:
        base = "" if (run / "model.json").exists() else ", so it is most likely not trained on dialogues"
        say(f"This model has no chat template{base}: it goes on with the dialogue as plain text.")
    talk = Dialogue(loaded.model, template, shaping, length, seed=seed)
    while (line := _line("you: ")) is not None:
        if line == "/quit":
            break
        _respond(talk, line.strip())


def _line(prompt: str) -> str | None:
    """A line of the user; ``None`` at the end of the input."""
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
    answer = talk.answer()
    try:
        for piece in answer:
            sys.stdout.write(printable(piece, keep="\n\t"))
            sys.stdout.flush()
    except KeyboardInterrupt:
        answer.close()
        sys.stdout.write(" ...")
    sys.stdout.write("\n")
    sys.stdout.flush()


def complete(
    run: Folder,
    text: Annotated[str | None, typer.Argument(help="The text so far.", show_default="lines of standard input")] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="Number of words.", min=1, metavar="N")] = 3,
    measure: Annotated[
        Path | None,
        typer.Option(
            help="Simulate typing this text with three suggestions, and print the keystrokes saved.", show_default=False
        ),
    ] = None,
    words: Annotated[int, typer.Option(help="Number of words that --measure types.", min=1, metavar="N")] = 200,
    weights: Weights = "float32",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Suggest the likeliest next words, as a phone's keyboard does.

    Letters at the end of the text begin the word, unless they most likely are a
    whole word: then the next word is meant. The probability of a word is the sum
    over all ways to spell it in tokens.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold_published.words import Completer

    keyboard = Completer(Run.load(run, device, weights=weights).model)
    if measure is not None:
        _measure(keyboard, measure, words, as_json)
        return
    for line in [text] if text is not None else map(str.rstrip, sys.stdin):
        found = keyboard.following(line.rstrip("\r\n"), n)
        told = "  ".join(f"{word} {mass:.0%}" for word, mass in found)
        print_line(json.dumps(found, ensure_ascii=False) if as_json else told or "no word")


def _measure(keyboard: Completer, path: Path, most: int, as_json: bool) -> None:
    """Print what the suggestions save on a text."""
    from fourfold.data.files import content_of, decoded
    from fourfold_published.words import keystrokes

    text = decoded(path, content_of(path))
    found = keystrokes(lambda written: [word for word, _ in keyboard.suggest(written)], text, most)
    if as_json:
        print_line(json.dumps(asdict(found)))
        return
    print_line(f"{found.words} words: {found.saved:.1%} of the keystrokes saved")
    print_line(f"first suggestion right {found.top1:.1%}, one of three {found.top3:.1%}, before a letter is typed")
    print_line(f"95 % of the suggestions within {1000 * found.p95:.1f} ms")


def speculate(
    run: Folder,
    draft: Annotated[Path, typer.Argument(help="A smaller model over the same tokens.", show_default=False)],
    prompt: Annotated[str, typer.Option(help="The beginning of the texts.", show_default="none")] = "",
    n: Annotated[int, typer.Option("-n", "--n", help="Number of texts.", min=1, metavar="N")] = 1,
    length: Annotated[int, typer.Option(help="The most tokens of a text.", min=1, metavar="N")] = 256,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="String that ends a text. It may be given several times.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw texts by speculative decoding: a draft proposes tokens.

    The model evaluates several proposed tokens at once, so it is evaluated less
    often. The texts have its distribution, whatever the draft.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold.tasks.language import Shaping
    from fourfold_published.speculation import Draft, generate

    model, helper = Run.load(run, device).model, Draft(Run.load(draft, device).model)
    shaping = Shaping(temperature=temperature, top_k=top_k, top_p=top_p)
    texts = generate(model, helper, prompt, n=n, length=length, seed=seed, shaping=shaping, stop=stop or [])
    texts = [prompt + text for text in texts]
    print_data(json.dumps(texts, indent=1, ensure_ascii=False) if as_json else "\n\n".join(texts))
    for line in filter(None, [shaping.words, str(helper)]):
        say(line)


def export(
    run: Folder,
    folder: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    cond: Annotated[
        str | None,
        typer.Option(help="The class that a pipeline of images draws.", show_default="all classes", metavar="CLASS"),
    ] = None,
) -> None:
    """Write a model as a folder that transformers or diffusers opens.

    A model of text gets its tokenizer beside it, and its logits stay. A diffusion
    model of images must be trained by diffusion/ddpm or diffusion/ddpm-velocity,
    whose network diffusers has. Its pipeline draws all classes or that of --cond.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold.spaces import Text
    from fourfold.tasks.drawing import condition
    from fourfold_published.pipelines import write_pipeline
    from fourfold_published.transformers import write_language_model

    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: give another folder")
    model = Run.load(run, "cpu").model
    if isinstance(model.space, Text):  # only text has a tokenizer to write
        if cond is not None:
            raise ValueError("--cond is for models of images: leave it out")
        written = write_language_model(model, folder)
    else:
        label = condition(model, cond)
        written = write_pipeline(model, folder, label if isinstance(label, int) else -1)
    print_line(written)
