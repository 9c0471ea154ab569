"""Commands that use a run: ``sample``, ``score`` and ``evaluate``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from fourfold.cli.options import (
    AsJson,
    BatchRows,
    Device,
    Features,
    Folder,
    Labels,
    OtherData,
    Seed,
    SkipBad,
    Temperature,
    TopK,
    TopP,
    Weights,
    tabular,
    textual,
)
from fourfold.cli.printing import print_data, print_line, print_parts, say, say_notes, write_text
from fourfold.machine.threads import is_first, set_threads

if TYPE_CHECKING:
    from torch import Tensor

    from fourfold.core import GenerativeModel
    from fourfold.data import Split
    from fourfold.engine import Run
    from fourfold.metrics.score import Measurement
    from fourfold.tasks.language import Draft, Shaping


__all__ = ["evaluate", "sample", "score"]


PATIENCE = 120.0
"""Seconds for sampling, and for scoring, of a published model, which may be large."""


def sample(
    run: Folder,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--n",
            help="Number of samples, or of samples for each prompt.",
            min=1,
            show_default="64, or 1 text or sound for each prompt",
            metavar="N",
        ),
    ] = None,
    cond: Annotated[
        str | None, typer.Option(help="Class of the samples, by name or number.", show_default="any class")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Caption of the images, words of the sound, or beginning of the text. It may be given several times."
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        tabular(
            help="Value or range of a column: education=Masters or age=30..40. It may be given several times. For a "
            "model of sequences: a file of the rows to go on from.",
        ),
    ] = None,
    balance: Annotated[
        str | None,
        tabular(help="A column of a table whose levels get equal shares."),
    ] = None,
    require: Annotated[
        list[str] | None,
        tabular(
            help="A condition that every sample meets, such as 'start <= end'. It may be given several times.",
        ),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write to a .png (a grid), .wav, .npy, .npz, .csv, .parquet or .txt, to a folder of PNGs or "
            "WAVs, or to standard output (-).",
            show_default="a file in the run folder; text is printed",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Another sampler, such as Heun, UniPC or EulerMaruyama. AsDraw draws samples of a model that shows "
            "medians.",
            show_default="the model's own",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of the sampler, if it has steps.", min=1, show_default="the model's own", metavar="N"),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Scale of classifier-free guidance.", show_default="none", metavar="X")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Number of examples in memory at once.", min=1, metavar="N", show_default="256, or 1,024 small ones"
        ),
    ] = None,
    length: Annotated[
        int | None,
        textual(help="The most tokens of a text.", min=1, show_default="a window", metavar="N"),
    ] = None,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: Annotated[
        float | None,
        textual(
            help="Draw among tokens of at least this share of the likeliest one's mass.",
            show_default="all",
            metavar="X",
        ),
    ] = None,
    repetition_penalty: Annotated[
        float,
        textual(help="Make tokens that the text already holds less likely.", metavar="X"),
    ] = 1.0,
    stop: Annotated[
        list[str] | None,
        textual(help="String that ends a text. It may be given several times."),
    ] = None,
    fill: Annotated[
        str | None,
        textual(
            help="Text with gaps such as {8}, which stands for 8 tokens, for a masked diffusion of text.",
            show_default=False,
        ),
    ] = None,
    draft: Annotated[
        Path | None,
        textual(
            help="A smaller model over the same tokens that proposes them; texts keep their distribution.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, bf16 or autocast.")] = "float32",
    weights: Weights = "float32",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw samples from a run.

    Only the run folder is needed, not the data it was trained on. A published
    language model serves as well: a folder of transformers, or a GGUF file.

    Samples of a table have its columns, formats and levels. --given fixes values,
    --balance gives levels equal shares, and --require keeps the draws that meet a
    condition, and prints the share that did.
    """
    from fourfold.data.writers import Labels, as_lines, usual_suffix, write_examples

    set_threads()
    from fourfold.engine import Run, inference
    from fourfold.estimands import Continuing
    from fourfold.tasks import language
    from fourfold.tasks.drawing import adjusted, class_names
    from fourfold.tasks.language import Shaping

    loaded = Run.load(run, device, weights=weights)
    space, prompts = loaded.model.space, prompt or []
    shaping = Shaping(repetition_penalty, temperature, top_k, top_p, min_p)
    suffix = usual_suffix(space)
    default = 1 if prompts and suffix != ".png" else 64
    others = {"--sampler": sampler, "--steps": steps, "--guidance": guidance}
    tables = {"--cond": cond, "--given": given, "--balance": balance, "--require": require, "--batch-size": batch_size}
    if fill is not None:
        ruled = shaping != Shaping() or stop or length or draft
        _leave_out("--fill", {"--prompt": prompt, **others, **tables, "the rules of drawing tokens": ruled or None})
        with inference(loaded.model, precision):
            _give_texts(language.fill(loaded.model, fill, n or 1, seed), out, as_json)
        return
    if space.bytewise and (prompts or stop or length or draft or shaping != Shaping()):
        _leave_out("a text that goes on", tables)
        model = adjusted(loaded.model, sampler, steps, guidance)
        helper = None if draft is None else language.Draft(Run.load(draft, device).model)
        with inference(model, precision), inference((helper or loaded).model, precision):
            rules = _Rules(length or space.shape[0], seed, shaping, stop or [], helper)
            _go_on_with_texts(model, prompts, n or default, rules, out, as_json)
        return
    if shaping != Shaping() or stop or length or draft:
        raise ValueError(f"the rules of drawing tokens are for models of text, not of {space}: leave them out")
    _check_condition(loaded.model, prompts, cond)
    if given and isinstance(loaded.model.estimand, Continuing):
        _go_on(loaded, given, n or 1, seed, run, out, as_json)
        return
    n = n or default
    each = [text for text in prompts for _ in range(n)]
    with inference(loaded.model, precision):
        if given or balance is not None or require:
            drawn = _drawn(loaded, n, cond, seed, batch_size, given or [], balance, require or [])
        else:
            drawn = loaded.sample(
                len(each) or n, each or cond, seed, batch_size, sampler=sampler, steps=steps, guidance=guidance
            )
    if not is_first():
        return
    known = class_names(loaded.model, cond, n)
    labels = Labels(loaded.label_column or "label", known) if known else None
    if out == "-" or (out is None and suffix == ".txt"):
        print_data(as_lines(drawn, space, labels))
        return
    path = out or run / f"samples{suffix}"
    written = write_examples(path, drawn, space, prompts, labels)
    print_line(json.dumps({"samples": len(drawn), "written": str(written)}) if as_json else written)


def _leave_out(what: str, options: Mapping[str, object]) -> None:
    """Refuse options that would be left out in silence."""
    found = [name for name, value in options.items() if value not in (None, [])]
    if found:
        raise ValueError(f"{what} does not follow {', '.join(found)}: leave {'them' if len(found) > 1 else 'it'} out")


class _Rules(NamedTuple):
    """How texts are drawn: the most tokens, the seed, the rules, the strings that end them, and a draft."""

    length: int
    seed: int
    shaping: Shaping
    stop: list[str]
    draft: Draft | None


def _go_on_with_texts(
    model: GenerativeModel, prompts: list[str], n: int, rules: _Rules, out: str | None, as_json: bool
) -> None:
    """Texts that go on after each prompt, with the prompt; one that is printed is printed as its tokens come."""
    from fourfold.paradigms.autoregressive import TokenConditionals
    from fourfold.tasks.language import cut_of, generate

    for line in filter(None, [rules.shaping.words, *(cut_of(model, start) for start in prompts)]):
        say(line)
    in_order = isinstance(model.estimand, TokenConditionals)  # masked diffusion draws tokens in any order
    if out in (None, "-") and not as_json and n == 1 and in_order:
        _print_as_they_come(model, prompts, rules)
    else:
        drawn = ((start, generate(model, start, n=n, **rules._asdict())) for start in prompts or [""])
        _give_texts([start + text for start, texts in drawn for text in texts], out, as_json)
    if rules.draft is not None:
        say(rules.draft)


def _print_as_they_come(model: GenerativeModel, prompts: list[str], rules: _Rules) -> None:
    """Print one text after each prompt, its tokens as they are drawn, and say how fast that was."""
    from fourfold.tasks.language import written

    tokens, start = 0, time.perf_counter()

    def parts() -> Iterator[str]:
        nonlocal tokens
        for i, prompt in enumerate(prompts or [""]):
            yield ("\n\n" if i else "") + prompt
            for part in written(model, prompt, **rules._asdict()):
                tokens += 1
                yield part

    print_parts(parts())
    tokens -= len(prompts or [""])  # the last part of a text is no token
    say(f"{tokens:,} tokens, {tokens / (time.perf_counter() - start):.3g} tokens/s")


def _give_texts(texts: list[str], out: str | None, as_json: bool) -> None:
    """Print texts, or write them to a file."""
    whole = json.dumps(texts, indent=1, ensure_ascii=False) if as_json else "\n\n".join(texts)
    if out in (None, "-"):
        print_data(whole)
        return
    write_text(Path(str(out)), whole + "\n")
    print_line(out)


def _go_on(run: Run, given: list[str], n: int, seed: int, folder: Path, out: str | None, as_json: bool) -> None:
    """Rows that follow those of a file, with these, to a file or to standard output."""
    from fourfold.data.writers import as_lines, usual_suffix, write_examples

    if len(given) > 1:
        raise ValueError("--given: a model of sequences goes on from the rows of one file: name one")
    found = run.go_on(given[0], n, seed)
    for note in found.notes:
        say(note)
    if out == "-":
        print_data(as_lines(found.x, found.space))
        return
    written = write_examples(out or folder / f"samples{usual_suffix(found.space)}", found.x, found.space)
    print_line(json.dumps({"samples": len(found.x), "written": str(written)}) if as_json else written)


def _drawn(
    run: Run,
    n: int,
    cond: str | None,
    seed: int,
    batch_size: int | None,
    given: list[str],
    balance: str | None,
    require: list[str],
) -> Tensor:
    """Samples of a table with given values, equal shares and requirements; says how many draws that took."""
    from fourfold.spaces import Table
    from fourfold.tasks.drawing import condition
    from fourfold.tasks.given import draw, parse_given

    space = run.model.space
    if (given or balance is not None) and not isinstance(space, Table):  # only columns can be given
        raise ValueError(f"--given and --balance are for tables, and this model knows {space}")
    wanted = run.requirements(require)
    found = draw(
        run.model,
        n,
        condition(run.model, cond),
        seed,
        batch_size,
        given=parse_given(given, space) if isinstance(space, Table) else None,  # only columns can be given
        balance=balance,
        requirements=wanted,
    )
    if wanted:
        say(found.told(wanted))
    return found.x


def _check_condition(model: GenerativeModel, prompts: list[str], cond: str | None) -> None:
    """Refuse prompts and classes that the model does not know."""
    if prompts and model.space.caption is None:
        way = (
            "a class: give --cond"
            if model.space.classes is not None
            else "nothing: train with --conditional on captioned images"
        )
        raise ValueError(f"--prompt: this model is conditioned on {way}")
    if cond is not None and model.space.caption is not None:
        raise ValueError("--cond: this model is conditioned on captions: give --prompt")


def score(
    run: Folder,
    data: OtherData = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Score only the train, validation or test split of the data.",
            show_default="test for the run's data and built-in sets, everything for a file",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("-n", "--n", help="The most examples to score.", min=1, show_default="all", metavar="N"),
    ] = None,
    labels: Labels = None,
    skip_bad: SkipBad = None,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Write one line per example to a .csv, or to standard output (-)."),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            help="Encodings of each example to average, for models that encode at random (dequantisation).",
            min=1,
            metavar="N",
        ),
    ] = 2,
    batch_size: BatchRows = 256,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Score examples: their log-probability and its kind (exact, bound, ...).

    Files are read as for training. Columns of a table are found by name.

    A class-conditional model scores log p(x | class) if the data has classes.

    The file of --out has the log-probability of each row. For the 1,000 least
    likely rows of a table, it names the columns that make them unusual, if the
    model tells the distribution of one column given all others.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold.tasks.scores import score_record, score_table, summary, write_scores
    from fourfold.tasks.unusual import unusual_columns

    if as_json and out == "-":
        raise ValueError("--json and --out - both write to standard output: leave one out")
    loaded = Run.load(run, device)
    part, notes = loaded.examples(data, split, labels=labels, limit=limit, skip_bad=bool(skip_bad))
    for note in notes:
        say(note)
    result = loaded.log_prob(part.x, part.cond, seed, batch_size, draws)
    if not is_first():
        return
    unit, quantity = loaded.model.space.unit, _quantity(loaded, part, data)
    tell = say if out == "-" else print_line
    if as_json:
        print_line(json.dumps({**score_record(result, unit), "quantity": quantity}, indent=1))
    else:
        tell(f"{summary(result, unit)}: {quantity}")
        if result.note:
            tell(result.told(unit))
    unusual = None if out is None else unusual_columns(loaded.model, part.x, result.nats)
    if out == "-":
        print_data(score_table(result, unit, unusual).rstrip())
    elif out is not None:
        (say if as_json else print_line)(write_scores(Path(out), result, unit, unusual))


def _quantity(run: Run, part: Split, data: str | None) -> str:
    """The probability that was computed, as a formula; a remark if the data lacks classes that the model knows."""
    space = run.model.space
    if not space.conditional:
        return "log p(x)"
    given = "caption" if space.caption is not None else "class"
    if part.cond is not None:
        return f"log p(x | {given})"
    column = f" column {run.label_column!r}" if run.label_column else f" {given}"
    return f"log p(x), since {data or 'the data'} has no{column}; with one it would be log p(x | {given})"


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(
            help="The folder of a run, or a published language model; with --data, also a file or folder of samples.",
            show_default=False,
        ),
    ],
    data: OtherData = None,
    real: Annotated[
        str | None,
        typer.Option("--data", help="Data that samples of any generator are measured against.", show_default=False),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="The most samples and references.", min=2, metavar="N")] = 2000,
    labels: Labels = None,
    skip_bad: SkipBad = None,
    seed: Seed = 0,
    features: Features = None,
    patience: Annotated[
        float | None,
        typer.Option(
            help="The most seconds for sampling, and again for scoring.",
            min=0,
            show_default="no limit; 120 for a published model",
            metavar="X",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the scores to this .json.", show_default=False)
    ] = None,
    weights: Weights = "float32",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a run: likelihood, quality, coverage, memorisation and cost.

    Each score has an interval and a floor, the score of training examples. The
    references are the test split of the run's own data and of built-in sets, and
    all examples of anything else.

    Files are read as for training. Columns of a table are found by name.

    SAMPLES --data REAL measures a file or folder of samples of any generator. A
    test split of the real data is the reference, and copies are looked for in
    its training split.
    """
    set_threads()
    from fourfold.adapters import adapter_of
    from fourfold.engine import Run
    from fourfold.metrics.records import repeats

    published = adapter_of(run) is not None
    samples = run.exists() and not (run / "model.json").exists() and not published
    if samples and real is None:
        raise ValueError(
            f"{run}: is no run: give the folder of one; or measure samples against the data that they should resemble, "
            f"with --data REAL"
        )
    if samples:
        scores = _of_samples(run, str(real), n, seed, labels, bool(skip_bad), features)
    else:
        loaded = Run.load(run, device, weights=weights)
        dataset = loaded.test_set(data or real, labels=labels, skip_bad=bool(skip_bad))
        say_notes(dataset)
        seconds = PATIENCE if patience is None and published else patience
        scores = loaded.evaluate(dataset, n, seed, features=features, seconds=seconds, say=say)
    if copying := [score.name for score in scores if repeats(score)]:
        say(f"copies: samples lie closer to training examples than new examples do ({', '.join(copying)})")
    records = json.dumps([found.record() for found in scores], indent=1)
    for line in [records] if as_json else scores:
        print_line(line)
    if out is not None:
        write_text(out, records + "\n")
        (say if as_json else print_line)(out)


def _of_samples(
    samples: Path, real: str, n: int, seed: int, labels: str | None, skip_bad: bool, features: str | None
) -> list[Measurement]:
    """The scores of a file or folder of samples against real data."""
    from fourfold.data import load
    from fourfold.tasks.evaluation import evaluate_samples

    dataset = load(real, seed=seed, labels=labels, skip_bad=skip_bad)
    say_notes(dataset)
    scores, notes = evaluate_samples(samples, dataset, n=n, features=features)
    for note in notes:
        say(note)
    say(
        f"{real}: {len(dataset.test):,} of its {dataset.space.counted} are the references, and copies are looked for "
        f"among {dataset.examples:,} others"
    )
    return scores
