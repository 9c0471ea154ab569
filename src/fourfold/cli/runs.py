"""The work of ``sample``, ``score`` and ``evaluate``."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fourfold.adapters import adapter_of
from fourfold.cli.commands.runs import Evaluate, Sample, ScoreExamples
from fourfold.cli.printing import print_data, print_line, print_parts, results_of, say, say_notes, write_text
from fourfold.core import Condition, GenerativeModel, Space
from fourfold.data import Split
from fourfold.data.writers import as_lines, usual_suffix, write_examples
from fourfold.engine import Run, inference
from fourfold.estimands import Continuing
from fourfold.machine.threads import is_first
from fourfold.metrics.records import repeats
from fourfold.metrics.score import Measurement
from fourfold.output.printable import shortened
from fourfold.paradigms.autoregressive import TokenConditionals
from fourfold.privacy import guarantee_words
from fourfold.spaces import Table
from fourfold.tasks import language
from fourfold.tasks.drawing import adjusted, beside
from fourfold.tasks.forecasting import forecast, holds_rows
from fourfold.tasks.given import Given, requirements, sample_given
from fourfold.tasks.language import Shaping, generate, stream_text, truncation_note
from fourfold.tasks.scores import score_record, score_table, summary, write_scores
from fourfold.tasks.unusual import unusual_columns

__all__ = ["evaluate", "sample", "score"]

PATIENCE = 120.0
"""Seconds for sampling, and for scoring, of a published model, which may be large."""


def sample(command: Sample) -> None:
    """Draw samples, and print or write them."""
    if command.skip_bad:
        raise ValueError("--skip-bad must be left out, since this run is not that of a database, whose keys may be bad")
    run = Run.load(command.run, command.device, opening=command.opening)
    command = _scaled(command, run)
    conditional = run.model.space.conditional
    if command.fill is not None:
        _fill(command, run.model)
    elif run.model.space.bytewise and not conditional and _rules_tokens(command, bool(command.given)):
        _continue_texts(command, run)
    elif isinstance(run.model.estimand, Continuing) and _goes_on(command.given or [], run.model.space):
        _refuse_rules(replace(command, length=None), run.model.space)
        _continue_rows(command, run)
    else:
        _refuse_rules(command, run.model.space)
        _sample_examples(command, run)


def _refuse_rules(command: Sample, space: Space) -> None:
    """Refuse rules of drawing tokens for a space without tokens."""
    if _rules_tokens(command):
        raise ValueError(
            f"rules of drawing tokens must be left out for a model of {space}; they are for models of text"
        )


def _scaled(command: Sample, run: Run) -> Sample:
    """The command with a number of samples in the place of a scale.

    Raises:
        ValueError: for a scale beside a number, one that is not positive, or of a run whose data is not recorded.
    """
    if command.scale is None:
        return command
    if command.n is not None:
        raise ValueError(f"--scale must be left out beside -n, got --scale {command.scale:g} and -n {command.n}")
    examples = run.card.get("data", {}).get("train")
    if not command.scale > 0 or examples is None:
        reason = "of a run that records its data" if examples is None else "positive"
        raise ValueError(f"--scale must be {reason}, got {command.scale:g}; give a number by -n")
    return replace(command, scale=None, n=max(round(command.scale * examples), 1))


def _shaping(command: Sample) -> Shaping:
    """The rules by which tokens are drawn."""
    return Shaping(command.repetition_penalty, command.temperature, command.top_k, command.top_p, command.min_p)


def _rules_tokens(command: Sample, prefixed: bool = False) -> bool:
    """Whether options say how tokens are drawn."""
    return bool(prefixed or command.stop or command.length or _shaping(command) != Shaping())


def _table_options(command: Sample) -> dict[str, object]:
    """The options that a model of text does not follow."""
    return {
        "--balance": command.balance,
        "--require": command.require,
        "--batch-size": command.batch_size,
    }


def _fill(command: Sample, model: GenerativeModel) -> None:
    """Fill the gaps of a text."""
    options: dict[str, object] = {
        "--given": command.given,
        "--sampler": command.sampler,
        "--steps": command.steps,
        "--guidance": command.guidance,
        **_table_options(command),
        "the rules of drawing tokens": _rules_tokens(command) or None,
    }
    _refuse_options("--fill", options)
    with inference(model, command.precision):
        texts = language.fill(model, str(command.fill), command.n or 1, command.seed)
        _give_texts(texts, command.out, command.as_json)


def _continue_texts(command: Sample, run: Run) -> None:
    """Draw texts that go on after each prefix."""
    _refuse_options("a text that goes on", _table_options(command))
    prefixes = command.given or []
    model = adjusted(run.model, command.sampler, command.steps, command.guidance)
    with inference(model, command.precision):
        length = command.length or model.space.shape[0]
        rules = _Rules(length, command.seed, _shaping(command), command.stop or [])
        n = command.n or (1 if prefixes else 64)
        _print_continuations(model, prefixes, n, rules, command.out, command.as_json)


def _sample_examples(command: Sample, run: Run) -> None:
    """Draw examples of any other space, and print them as lines or write them to a file."""
    space = run.model.space
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", UserWarning)
        parts = run.conditioning(_conditions(command.given or [], space))
    for remark in remarks:
        say(remark.message)
    restrictions = parts.restrictions
    cond = space.encode_condition(parts.condition, _count(parts.condition, space))
    n = command.n or max(64 // (1 if cond is None else len(cond)), 1)
    each = None if cond is None else cond.repeat_interleave(n, 0)
    total = n if each is None else len(each)
    with inference(run.model, command.precision):
        if restrictions or command.balance is not None or command.require:
            x = _sample_table(command, run, total, each, restrictions)
        else:
            x = run.sample(
                total,
                each,
                command.seed,
                command.batch_size,
                sampler=command.sampler,
                steps=command.steps,
                guidance=command.guidance,
            )
    if not is_first():
        return
    space = parts.named(space, n)
    suffix, columns = usual_suffix(space), beside(space, each, run.label_column or "label")
    if cond is not None and space.given is not None and usual_suffix(space.given) == ".txt":  # texts stand below images
        columns = columns._replace(prompts=beside(space, cond).table.iloc[:, 0].tolist())  # type: ignore[union-attr]
    if command.out == "-" or (command.out is None and suffix == ".txt"):
        print_data(as_lines(x, space, columns))
        return
    path = write_examples(command.out or results_of(command.run) / f"samples{suffix}", x, space, columns)
    print_line(json.dumps({"samples": len(x), "written": str(path)}) if command.as_json else path)


def _conditions(texts: Sequence[str], space: Space) -> list[str | Path] | None:
    """Texts of the command line as conditions: those that name files or folders as their paths."""
    names = () if space.given is None else space.given.names
    paths = {text: Path(text).expanduser() for text in texts if text and text not in names}
    return [paths[text] if text in paths and paths[text].exists() else text for text in texts] or None


def _count(condition: Condition, space: Space) -> int:
    """How many conditions there are: one, or the rows of a tensor or a list."""
    if isinstance(condition, Tensor) and space.given is not None:
        return 1 if condition.shape == space.given.shape else len(condition)
    return len(condition) if isinstance(condition, list) else 1


def _refuse_options(purpose: str, options: Mapping[str, object]) -> None:
    """Refuse options that would be ignored in silence.

    Raises:
        ValueError: naming them.
    """
    names = [name for name, value in options.items() if value not in (None, [])]
    if names:
        raise ValueError(f"{' and '.join(names)} must be left out, since {purpose} does not follow such rules")


class _Rules(NamedTuple):
    """How texts are drawn: the most tokens, the seed, the rules, and the strings that end them."""

    length: int
    seed: int
    shaping: Shaping
    stop: list[str]


def _print_continuations(
    model: GenerativeModel, prefixes: list[str], n: int, rules: _Rules, out: str | None, as_json: bool
) -> None:
    """Print or write each prefix with a continuation. One that is printed is printed as its tokens come."""
    for line in filter(None, [rules.shaping.words, *(truncation_note(model, prefix) for prefix in prefixes)]):
        say(line)
    in_order = isinstance(model.estimand, TokenConditionals)  # masked diffusion draws tokens in any order
    if out in (None, "-") and not as_json and n == 1 and in_order:
        _print_as_they_come(model, prefixes, rules)
    else:
        continuations = ((prefix, generate(model, prefix, n=n, **rules._asdict())) for prefix in prefixes or [""])
        _give_texts([prefix + text for prefix, texts in continuations for text in texts], out, as_json)


def _print_as_they_come(model: GenerativeModel, prefixes: list[str], rules: _Rules) -> None:
    """Print one text after each prefix, its tokens as they are drawn, and say how fast that was."""
    tokens, start = 0, time.perf_counter()

    def parts() -> Iterator[str]:
        nonlocal tokens
        for i, prefix in enumerate(prefixes or [""]):
            yield ("\n\n" if i else "") + prefix
            for part in stream_text(model, prefix, **rules._asdict()):
                tokens += 1
                yield part

    print_parts(parts())
    tokens -= len(prefixes or [""])  # the last part of a text is no token
    say(f"{tokens:,} tokens, {tokens / (time.perf_counter() - start):.3g} tokens/s")


def _give_texts(texts: list[str], out: str | None, as_json: bool) -> None:
    """Print texts, or write them to a file."""
    whole = json.dumps(texts, indent=1, ensure_ascii=False) if as_json else "\n\n".join(texts)
    if out in (None, "-"):
        print_data(whole)
        return
    write_text(Path(str(out)), whole + "\n")
    print_line(out)


def _goes_on(texts: Sequence[str], space: Space) -> bool:
    """Whether what is given are rows to go on from, and no conditions."""
    return bool(texts) and (not space.conditional or holds_rows(Path(texts[0]).expanduser(), space))


def _continue_rows(command: Sample, run: Run) -> None:
    """Draw rows that follow those of a file, and write both to a file or to standard output."""
    if len(command.given or []) > 1:
        raise ValueError(f"--given must be one file for a model of sequences, got {len(command.given or [])}; name one")
    continuation = forecast(run.model, (command.given or [])[0], command.n or 1, command.seed, horizon=command.length)
    for note in continuation.notes:
        say(note)
    x, space = continuation.x, continuation.space
    columns = beside(space, continuation.cond, run.label_column or "label")
    if command.out == "-":
        print_data(as_lines(x, space, columns))
        return
    path = write_examples(command.out or results_of(command.run) / f"samples{usual_suffix(space)}", x, space, columns)
    print_line(json.dumps({"samples": len(x), "written": str(path)}) if command.as_json else path)


def _sample_table(command: Sample, run: Run, n: int, cond: Tensor | None, restrictions: Given) -> Tensor:
    """Samples of a table with given values, equal shares and requirements. Says how many draws that took."""
    space = run.model.space
    if (restrictions or command.balance is not None) and not isinstance(space, Table):  # only columns can be given
        raise ValueError(
            f"--given and --balance must be left out for a model of {space}; they are for models of tables"
        )
    tests = requirements(command.require or [], space, lambda: run.dataset().train.x)
    drawing = sample_given(
        run.model,
        n,
        cond,
        command.seed,
        command.batch_size,
        given=restrictions,
        balance=command.balance,
        requirements=tests,
    )
    for remark in drawing.remarks():
        say(remark)
    return drawing.x


def score(command: ScoreExamples) -> None:
    """Score examples, print a summary, and write a line for each."""
    out, as_json = command.out, command.as_json
    if as_json and out == "-":
        raise ValueError("--out must be a file with --json, got -, which is standard output too")
    run = Run.load(command.run, command.device)
    part, notes = run.examples(
        command.data,
        command.split,
        labels=command.labels,
        given=command.given,
        limit=command.limit,
        skip_bad=bool(command.skip_bad),
    )
    for note in notes:
        say(note)
    result = run.log_prob(part.x, part.cond, command.seed, command.batch_size, command.draws)
    if not is_first():
        return
    unit, quantity = run.model.space.unit, _quantity(run, part, command.data)
    tell = say if out == "-" else print_line
    if as_json:
        print_line(json.dumps({**score_record(result, unit), "quantity": quantity}, indent=1))
    else:
        tell(f"{summary(result, unit)}: {quantity}")
        if result.note:
            tell(result.note_in(unit))
    unusual = None if out is None else unusual_columns(run.model, part.x, result.nats)
    if out == "-":
        print_data(score_table(result, unit, unusual).rstrip())
    elif out is not None:
        (say if as_json else print_line)(write_scores(Path(out), result, unit, unusual))


def _quantity(run: Run, part: Split, data: str | None) -> str:
    """The probability that was computed, as a formula. A remark if the data has no conditions."""
    space = run.model.space
    if not space.conditional:
        return "log p(x)"
    if part.cond is not None:
        return "log p(x | c)"
    columns = [run.label_column] if run.label_column else space.given.columns if space.given is not None else ()
    column = f"column {shortened(columns)}" if columns else "conditions"
    return f"log p(x), since {data or 'the data'} has no {column}; with it the score would be log p(x | c)"


def evaluate(command: Evaluate) -> None:
    """Measure a run, and print and write the scores."""
    if command.scale is not None:
        raise ValueError("--scale must be left out, since this run is not that of a database; give a number by -n")
    scores = _measured(command)
    if copying := [score.name for score in scores if repeats(score)]:
        say(f"copies: samples lie closer to training examples than new examples do ({', '.join(copying)})")
    records = json.dumps([score.record() for score in scores], indent=1)
    for line in [records] if command.as_json else scores:
        print_line(line)
    if command.out is not None:
        write_text(command.out, records + "\n")
        (say if command.as_json else print_line)(command.out)


def _measured(command: Evaluate) -> list[Measurement]:
    """The scores of a run, or of a published model.

    Raises:
        ValueError: for a file or folder of samples.
    """
    path = command.run
    published = adapter_of(path) is not None
    if path.exists() and not (path / "model.json").exists() and not published:
        raise ValueError(f"{path} must be the folder of a run, got none; measure samples by fourfold judge REAL {path}")
    run = Run.load(path, command.device, opening=command.opening)
    if words := guarantee_words(run.card):
        say(f"{words}; the scores, which compare samples with real rows, are not covered")
    skip_bad = bool(command.skip_bad)
    dataset = run.test_set(command.data, labels=command.labels, given=command.given, skip_bad=skip_bad)
    say_notes(dataset)
    seconds = PATIENCE if command.patience is None and published else command.patience
    return run.evaluate(dataset, command.n, command.seed, features=command.features, seconds=seconds, say=say)
