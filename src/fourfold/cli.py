"""The commands: a thin shell. A command imports what is heavy when it runs, so that help answers at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold import __version__
from fourfold.atlas import commands as atlas
from fourfold.configfile import SECTIONS, Config, config_text, template
from fourfold.options import (
    MEASURING,
    TRAINING,
    AsJson,
    Compile,
    Data,
    DataOptions,
    Device,
    Features,
    Folder,
    Labels,
    OtherData,
    PrecisionName,
    Seed,
    SkipBad,
    Threads,
    with_data_options,
)
from fourfold.printable import printable
from fourfold.threads import set_threads

if TYPE_CHECKING:
    from fourfold.core import GenerativeModel
    from fourfold.data import Dataset, Split
    from fourfold.engine import Run

__all__ = ["app"]

app = typer.Typer(
    name="fourfold",
    help="Train, sample, score, compare and place generative models of every paradigm.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. Errors are one line on standard error.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fourfold {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error (anywhere on the line).")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    """Options of every command."""


def _print(line: object) -> None:
    """Print a result. Control characters are escaped: names and texts from outside cannot steer the terminal."""
    typer.echo(printable(str(line), keep="\n\t"))


def _say(line: object) -> None:
    """Print a remark to standard error."""
    typer.echo(printable(str(line), keep="\n\t"), err=True)


def _show(text: str) -> None:
    """Print data exactly as it is, but escape control characters if a terminal reads it."""
    typer.echo(printable(text, keep="\n\t") if sys.stdout.isatty() else text)


# --- fit --------------------------------------------------------------------------------------------------------------


@app.command()
@with_data_options
def fit(
    context: typer.Context,
    options: DataOptions,
    paradigm: Annotated[
        str | None, typer.Argument(help="A paradigm or recipe, such as 'diffusion' or 'diffusion/velocity'.")
    ] = None,
    data: Annotated[str | None, typer.Argument(help="A built-in set, a file, or a folder of images.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="When to stop: 30s, 10m, 1h30m, 2000 steps, 5 epochs or 1e15 flops.", show_default="1m"),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the model: xs, s or m.", show_default="s")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random draw.", min=0, metavar="N", show_default="0")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default="a new folder in runs/")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.", show_default=False)] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:0 or mps; auto takes a GPU if there is one.", show_default="auto"),
    ] = None,
    threads: Threads = None,
    config: Config = None,
    as_json: AsJson = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Examples per step.",
            min=1,
            show_default="depends on the recipe",
            metavar="N",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate of AdamW.",
            min=0,
            show_default="depends on the recipe",
            metavar="X",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    muon_rate: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate of Muon; 0 trains everything with AdamW.",
            min=0,
            show_default="depends on the recipe",
            metavar="X",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    precision: PrecisionName = None,
    compile: Compile = None,
    choose: Annotated[
        bool | None,
        typer.Option(
            "--choose/--keep-last",
            help="Keep the weights with the lowest held-out loss, or the last ones.",
            show_default="choose",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(
            help="Seconds between two checkpoints.",
            min=0,
            metavar="X",
            show_default="60",
            rich_help_panel=TRAINING,
        ),
    ] = None,
) -> None:
    """Train a model of a paradigm on data, within a budget.

    --resume continues a run under its own settings. Its budget, device,
    precision, compiling, checkpoints and choice of weights may change. Other
    options may be left out; if given, they must be those of the run.
    """
    if resume is None and (paradigm is None or data is None):
        raise typer.BadParameter("give a paradigm and data, or --resume and the folder of a run")
    if resume is not None and out not in (None, resume):
        raise ValueError(f"out {out} contradicts {resume}, which has {resume}: leave it out, or begin another run")
    set_threads(_threads_of(resume) if threads is None else threads)
    from fourfold.engine import Interrupted, fit
    from fourfold.engine.progress import Bar

    folder = resume or out or _free(f"{paradigm}-{Path(data or '').stem}-{size or 's'}-{seed or 0}")
    try:
        with Bar(paradigm or str(folder)) as bar:
            run = fit(
                paradigm,
                data,
                budget=budget,
                size=size,
                seed=seed,
                batch_size=batch_size,
                learning_rate=learning_rate,
                muon_rate=muon_rate,
                data_options=options.given(),
                run_dir=folder,
                resume=resume is not None,
                precision=precision,
                compile=compile,
                device=device,
                checkpoint_every=checkpoint_every,
                choose=choose,
                observe=bar,
                say=bar.say,
            )
    except Interrupted as stopped:
        _say(f"{stopped}; go on with: fourfold fit --resume {folder}")
        raise typer.Exit(130) from None
    card = run.card
    if resume is None:
        _repeatable(folder / "run.toml", context)
    if as_json:
        _print(json.dumps({"run": str(folder), **card}, indent=1))
        return
    _print(f"{folder}: {card['steps']} steps in {card['seconds']:.1f} s, {card['parameters']:,} parameters")


def _repeatable(path: Path, context: typer.Context) -> None:
    """Write the configuration file that repeats a call."""
    head = f"fourfold {__version__}; repeat with: fourfold {context.command.name} --config {path}"
    path.write_text(config_text(context.command, context.params, head), encoding="utf-8")


def _threads_of(folder: Path | None) -> int | None:
    """The threads that a run was trained with: with others, sums are rounded in another way."""
    try:
        return int(json.loads(((folder or Path()) / "card.json").read_text(encoding="utf-8"))["hardware"]["threads"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _free(name: str) -> Path:
    """The first run folder of a name that does not exist yet."""
    stem = name.replace("/", "-")
    numbered = (Path("runs") / (stem if i == 1 else f"{stem}-{i}") for i in range(1, 10_000))
    return next(path for path in numbered if not path.exists())


def _remark(dataset: Dataset) -> None:
    """Say what reading the data changed and left out."""
    for line in (*dataset.notes, *(f"skipped: {file}" for file in dataset.skipped)):
        _say(line)


# --- sample, score and evaluate ---------------------------------------------------------------------------------------


@app.command()
def sample(
    run: Folder,
    n: Annotated[
        int, typer.Option("-n", "--n", help="Number of samples, or of samples per prompt.", min=1, metavar="N")
    ] = 64,
    cond: Annotated[
        str | None, typer.Option(help="Class to draw, by name or number.", show_default="any class")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Caption to draw images for. It may be given several times.")
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write to a .png (a grid), .npy, .npz, .csv, .parquet or .txt, to a folder of PNGs, or to standard "
            "output (-).",
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
    batch_size: Annotated[int, typer.Option(help="Samples drawn at once.", min=1, metavar="N")] = 256,
    precision: Annotated[str, typer.Option(help="float32, bf16 or autocast.")] = "float32",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw samples from a run.

    Only the run folder is needed, not the data it was trained on.
    """
    from fourfold.data.writers import Labels, as_lines, usual_suffix, write_examples

    set_threads()
    from fourfold.engine import Run, inference
    from fourfold.engine.drawing import class_names

    loaded = Run.load(run, device)
    space, prompts = loaded.model.space, prompt or []
    _check_condition(loaded.model, prompts, cond)
    each = [text for text in prompts for _ in range(n)]
    with inference(loaded.model, precision):
        drawn = loaded.sample(
            len(each) or n, each or cond, seed, batch_size, sampler=sampler, steps=steps, guidance=guidance
        )
    known = class_names(loaded.model, cond, n)
    labels = Labels(loaded.label_column or "label", known) if known else None
    suffix = usual_suffix(space)
    if out == "-" or (out is None and suffix == ".txt"):
        _show(as_lines(drawn, space, labels))
        return
    path = out or run / f"samples{suffix}"
    written = write_examples(path, drawn, space, prompts, labels)
    _print(json.dumps({"samples": len(drawn), "written": str(written)}) if as_json else written)


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


@app.command()
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
    skip_bad: SkipBad = False,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Write one line per example to a .csv, or to standard output (-)."),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            help="Number of draws to average, for models that encode an example at random, as by dequantisation.",
            min=1,
            metavar="N",
        ),
    ] = 2,
    batch_size: Annotated[int, typer.Option(help="Examples scored at once.", min=1, metavar="N")] = 256,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Score examples: their log-probability and its kind (exact, bound, ...).

    Files are read as for training. Columns of a table are found by name.

    A model of classes scores log p(x | class) if the data has classes.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold.engine.scores import score_record, score_table, summary, write_scores

    if as_json and out == "-":
        raise ValueError("--json and --out - both write to standard output: leave one out")
    loaded = Run.load(run, device)
    part, notes = loaded.examples(data, split, labels=labels, limit=limit, skip_bad=skip_bad)
    for note in notes:
        _say(note)
    result = loaded.log_prob(part.x, part.cond, seed, batch_size, draws)
    unit, quantity = loaded.model.space.unit, _quantity(loaded, part, data)
    say = _say if out == "-" else _print
    if as_json:
        _print(json.dumps({**score_record(result, unit), "quantity": quantity}, indent=1))
    else:
        say(f"{summary(result, unit)}: {quantity}")
        if result.note:
            say(result.told(unit))
    if out == "-":
        _show(score_table(result, unit).rstrip())
    elif out is not None:
        (_say if as_json else _print)(write_scores(Path(out), result, unit))


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


@app.command()
def evaluate(
    run: Folder,
    data: OtherData = None,
    n: Annotated[int, typer.Option("-n", "--n", help="The most samples and references.", min=2, metavar="N")] = 2000,
    labels: Labels = None,
    skip_bad: SkipBad = False,
    seed: Seed = 0,
    features: Features = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the scores to this .json.", show_default=False)
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a run: likelihood, quality, coverage, memorisation and cost.

    Each score has an interval, and the floor that training examples reach. The
    references are the test split of the data.

    Files are read as for training. Columns of a table are found by name.
    """
    set_threads()
    from fourfold.engine import Run

    loaded = Run.load(run, device)
    dataset = loaded.dataset(data, labels=labels, skip_bad=skip_bad)
    _remark(dataset)
    scores = loaded.evaluate(dataset, n, seed, features=features)
    records = json.dumps([found.record() for found in scores], indent=1)
    for line in [records] if as_json else scores:
        _print(line)
    if out is not None:
        _written(out, records + "\n")
        (_say if as_json else _print)(out)


def _written(path: Path, text: str) -> None:
    """Write a text file, and make its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# --- compare ----------------------------------------------------------------------------------------------------------


@app.command()
@with_data_options
def compare(
    context: typer.Context,
    options: DataOptions,
    data: Data,
    budget: Annotated[
        str, typer.Option(help="Budget of each run: 30s, 10m, 1h30m, 2000 steps, 5 epochs or 1e15 flops.")
    ] = "1m",
    paradigms: Annotated[
        str | None,
        typer.Option(
            help="Paradigms or recipes, separated by commas.", show_default="all paradigms that model the data"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of runs of each paradigm.", min=1, metavar="N")] = 1,
    seed: Seed = 0,
    size: Annotated[str, typer.Option(help="Size of the models: xs, s or m.")] = "s",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The report. Its numbers are written beside it, as results.json.")
    ] = Path("report.html"),
    runs_dir: Annotated[Path, typer.Option(help="The folder of all runs.")] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Continue earlier runs, or move them to NAME.old and start anew.")
    ] = True,
    device: Device = "auto",
    threads: Threads = None,
    features: Features = None,
    config: Config = None,
    as_json: AsJson = False,
    precision: PrecisionName = None,
    compile: Compile = None,
    n: Annotated[
        int,
        typer.Option(
            "-n", "--n", help="The most samples and references.", min=16, metavar="N", rich_help_panel=MEASURING
        ),
    ] = 2000,
    likelihood_examples: Annotated[
        int,
        typer.Option(help="The most test examples to score.", min=2, metavar="N", rich_help_panel=MEASURING),
    ] = 1024,
    patience: Annotated[
        float | None,
        typer.Option(
            help="The most seconds of a run for sampling, and the most for scoring.",
            show_default="half the budget, at least 5",
            metavar="X",
            rich_help_panel=MEASURING,
        ),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep/--no-sweep", help="Also measure other numbers of sampling steps.", rich_help_panel=MEASURING
        ),
    ] = True,
) -> None:
    """Train every paradigm on the same data and budget, and write a report.

    The exit code is 1 if a paradigm failed.
    """
    set_threads(threads)
    from fourfold.engine import Interrupted
    from fourfold.tournament import Settings, run_comparison

    settings = Settings(
        budget=budget,
        paradigms=None if paradigms is None else tuple(name.strip() for name in paradigms.split(",")),
        seeds=seeds,
        seed=seed,
        size=size,
        n=n,
        features=features,
        likelihood_examples=likelihood_examples,
        patience=patience,
        sweep=sweep,
        precision=precision,
        compile=compile,
        device=device,
        data_options=options.given() or None,
        out=str(out),
        runs_dir=str(runs_dir),
        resume=resume,
    )
    try:
        comparison = run_comparison(data, settings, say=_say)
    except Interrupted as stopped:
        _say(stopped)
        raise typer.Exit(130) from None
    _repeatable(out.with_suffix(".toml"), context)
    if as_json:
        _print(json.dumps(comparison.record(), indent=1))
    else:
        _print(comparison)
        _print(f"report: {out}")
    if comparison.failed:
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The report.")] = Path("report.html"),
    runs_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
) -> None:
    """Train a small model of every paradigm on digits, and write a report.

    Each trains for 400 steps or 30 seconds, whichever ends first, so that the whole
    takes at most six minutes.
    """
    set_threads()
    from fourfold.engine import Interrupted
    from fourfold.tournament import Settings, run_comparison

    settings = Settings(
        budget=DEMO_BUDGET,
        paradigms=DEMO,
        size="xs",
        n=180,
        likelihood_examples=180,
        patience=5.0,
        sweep=False,
        out=str(out),
        runs_dir=str(runs_dir),
    )
    try:
        comparison = run_comparison("digits", settings, say=_say)
    except Interrupted as stopped:
        _say(f"{stopped}; go on with: fourfold demo")
        raise typer.Exit(130) from None
    folders = {entry.name: entry.outcomes[0].folder / "run" for entry in comparison.entries}
    shown = folders.get("diffusion", runs_dir)
    _print(comparison)
    _print(f"""
Look at {out}: samples of each paradigm, likelihoods with their kind,
distances with intervals, and what may go wrong with each.

Try next:
  fourfold sample {shown} -n 100 --out new.png
  fourfold compare YOUR_DATA --budget 2m      a folder of images, a table, a text
  fourfold info diffusion                     the two answers of a paradigm
  fourfold place "Stable Diffusion"           where a system stands on the map""")
    if comparison.failed:
        raise typer.Exit(1)


DEMO_BUDGET = "400 steps or 30s"
DEMO = ("autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy", "latent-diffusion")


# --- info and data ----------------------------------------------------------------------------------------------------


@app.command()
def info(
    subject: Annotated[str | None, typer.Argument(help="The folder of a run, a paradigm or a recipe.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a run, a paradigm or a recipe: how it is trained, sampled and scored.

    Without a subject, list all paradigms and their recipes.
    """
    from fourfold import info

    _print(json.dumps(info.record(subject), indent=1) if as_json else info.text(subject))


@app.command()
@with_data_options
def data(
    options: DataOptions,
    name: Annotated[
        str | None,
        typer.Argument(help="A built-in set, a file, a folder of images, or 'get'.", show_default="all sets"),
    ] = None,
    fetched: Annotated[
        str | None, typer.Argument(metavar="set", help="After 'get': the set to fetch from the network (emoji).")
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write 64 training examples to a .png, .npy, .npz, .csv, .parquet or .txt, to a folder, or to "
            "standard output (-).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check and describe a data set.

    Without a name, list the built-in sets. 'fourfold data get emoji' downloads one.
    """
    from fourfold.data import describe, describe_record, load, summaries
    from fourfold.data.writers import as_lines, write_examples

    if name == "get" or fetched is not None:
        _get(name, fetched, options.data_dir)
        return
    if name is None and as_json:
        _print(json.dumps(dict(summaries()), indent=1))
        return
    if name is None:
        _print(
            "\n".join(
                fill(f"{name:<18}{summary}", 80, subsequent_indent=" " * 18) for name, summary in summaries().items()
            )
        )
        return
    dataset = load(name, seed=seed, **options.given())
    about = json.dumps(describe_record(dataset), indent=1) if as_json else describe(dataset)
    (_say if out == "-" else _print)(about)
    if out is not None:
        x = dataset.space.rows(dataset.train.x)
        _show(as_lines(x[:64], dataset.space)) if out == "-" else _print(write_examples(out, x[:64], dataset.space))


def _get(name: str | None, fetched: str | None, data_dir: Path | None) -> None:
    """Download a set through the tool that has it."""
    from fourfold.data import describe, load
    from fourfold.data.emoji import fetch_emoji

    if name != "get":
        raise ValueError(f"{fetched!r} is one argument too many: give one set, or 'get' and a set")
    if fetched != "emoji":
        raise ValueError(
            f"'get' fetches emoji, not {fetched!r}; the other sets need no fetching, or say where they are"
        )
    _say("fetching emoji through npm (two packages of about 60 MB)")
    folder = fetch_emoji(data_dir)
    _print(describe(load("emoji", data_dir=folder)))


# --- configuration files ----------------------------------------------------------------------------------------------


@app.command()
def init(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("fourfold.toml"),
) -> None:
    """Write a configuration file with every option of fit and compare, explained.

    Remove the # before an option to set it. fit and compare read the file by
    --config; options on the command line win.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already: choose another name with --out, or remove it")
    commands: Any = typer.main.get_command(app)
    _written(out, "\n".join(template(commands.commands[name]) for name in SECTIONS))
    _print(f"{out}: edit it, then: fourfold fit --config {out}")


# --- the atlas --------------------------------------------------------------------------------------------------------

app.command("place")(atlas.place)
app.command("map")(atlas.map_)
