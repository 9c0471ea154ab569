"""The command line: a thin shell. Whatever is heavy is imported when a command runs, so that help answers at once."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold import __version__
from fourfold.atlas import commands as atlas

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fourfold.core import GenerativeModel, LogProb
    from fourfold.engine import Run

__all__ = ["app", "main"]

app = typer.Typer(
    name="fourfold",
    help="Train, sample, score, compare and place generative models of every paradigm.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    str, typer.Argument(help="A built-in set (see 'fourfold data'), a file, or a folder of images.", show_default=False)
]
Folder = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Of every random draw.")]
DataDir = Annotated[Path | None, typer.Option(help="Where the files of Fashion-MNIST or emoji are.")]
Conditional = Annotated[bool, typer.Option("--conditional", help="Condition on the labels or captions of the data.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and list them.")]
Limit = Annotated[int | None, typer.Option(help="Use at most this many examples (of a text: tokens).")]
Labels = Annotated[str | None, typer.Option(help="The label column, or the file of labels.")]
Length = Annotated[int, typer.Option(help="Tokens in a window of text.")]
PrecisionName = Annotated[
    str | None, typer.Option(help="float32, bf16 or autocast; by default the fastest stable one, measured.")
]
Compile = Annotated[bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile.", show_default=False)]


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


def _say(line: str) -> None:
    """Print a remark to standard error."""
    typer.echo(line, err=True)


def _data_options(
    data_dir: Path | None, conditional: bool, skip_bad: bool, limit: int | None, labels: str | None, length: int
) -> dict[str, Any]:
    """The arguments of ``fourfold.load`` that are not its defaults, as a run's card keeps them."""
    given = {
        "data_dir": None if data_dir is None else str(data_dir),
        "conditional": conditional,
        "skip_bad": skip_bad,
        "limit": limit,
        "labels": labels,
        "length": length,
    }
    plain = {"data_dir": None, "conditional": False, "skip_bad": False, "limit": None, "labels": None, "length": 256}
    return {key: value for key, value in given.items() if value != plain[key]}


# --- fit --------------------------------------------------------------------------------------------------------------


@app.command()
def fit(
    paradigm: Annotated[
        str | None, typer.Argument(help="A paradigm or recipe, as 'diffusion' or 'diffusion/velocity'.")
    ] = None,
    data: Annotated[str | None, typer.Argument(help="A built-in set, a file, or a folder of images.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="30s, 10m, 1h, 2000 steps, 5 epochs, 1e15 flops.  [default: 1m]")
    ] = None,
    size: Annotated[str, typer.Option(help="xs, s or m.")] = "s",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run folder.  [default: runs/...]")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    precision: PrecisionName = None,
    compile: Compile = None,
    conditional: Conditional = False,
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    limit: Limit = None,
    labels: Labels = None,
    length: Length = 256,
    batch_size: Annotated[int | None, typer.Option(help="Examples per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate of AdamW.")] = None,
    muon_rate: Annotated[float | None, typer.Option(help="Peak rate of Muon; 0 leaves all to AdamW.")] = None,
    checkpoint_every: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 60.0,
    choose: Annotated[
        bool | None,
        typer.Option(
            "--choose/--keep-last", help="Keep the weights of least held-out loss, or the last.  [default: choose]"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Train a model of a paradigm on data, within a budget."""
    if resume is not None:
        settings = _of_run(resume, budget)
        changes = {}
    elif paradigm is None or data is None:
        raise typer.BadParameter("give a paradigm and data, or --resume and the folder of a run")
    else:
        from fourfold.engine.budget import parse_budget

        parse_budget(budget or "1m")
        options = _data_options(data_dir, conditional, skip_bad, limit, labels, length)
        settings = {"paradigm": paradigm, "data": data, "budget": budget or "1m", "size": size, "seed": seed}
        settings |= {"data_options": options, "run_dir": out or _free(f"{paradigm}-{Path(data).stem}-{size}-{seed}")}
        changes = {"batch_size": batch_size, "learning_rate": learning_rate, "muon_rate": muon_rate}
    settings |= {"precision": precision, "compile": compile, "device": device, "checkpoint_every": checkpoint_every}
    settings |= {"choose": choose}
    _train(settings, {key: value for key, value in changes.items() if value is not None}, resume is not None)


def _of_run(folder: Path, budget: str | None) -> dict[str, Any]:
    """The settings of a run that is resumed."""
    from fourfold.engine.checkpoint import read_json

    card = read_json(folder / "card.json")
    options = {key: value for key, value in card["data"]["options"].items() if key != "seed"}
    return {
        "paradigm": card["paradigm"],
        "data": card["data"]["name"],
        "budget": budget or card["budget"],
        "size": card["size"],
        "seed": card["seed"],
        "data_options": options,
        "run_dir": folder,
    }


def _free(name: str) -> Path:
    """A run folder that does not exist yet."""
    stem = name.replace("/", "-")
    numbered = (Path("runs") / (stem if i == 1 else f"{stem}-{i}") for i in range(1, 10_000))
    return next(path for path in numbered if not path.exists())


def _train(settings: dict[str, Any], changes: dict[str, Any], resume: bool) -> None:
    """Load, train behind a progress bar, and say where the run is."""
    from dataclasses import replace

    from fourfold.data import load
    from fourfold.engine import Interrupted, fit
    from fourfold.engine.progress import Bar

    _check_names(settings["paradigm"], settings["size"])
    dataset = load(settings["data"], seed=settings["seed"], **settings["data_options"])
    for line in dataset.skipped:
        _say(f"skipped: {line}")
    settings["data"] = dataset
    if changes:
        from fourfold.paradigms import build

        defaults = build(settings["paradigm"], dataset.space, settings["size"]).training_defaults
        changes |= {"muon_rate": changes["muon_rate"] or None} if "muon_rate" in changes else {}
        settings["training"] = replace(defaults, **changes)
    folder = settings["run_dir"]
    try:
        with Bar(settings["paradigm"]) as bar:
            run = fit(**settings, resume=resume, observe=bar, say=bar.say)
    except Interrupted as stopped:
        _say(f"{stopped}; go on with: fourfold fit --resume {folder}")
        raise typer.Exit(130) from None
    card = run.card
    typer.echo(f"{folder}: {card['steps']} steps in {card['seconds']:.1f} s, {card['parameters']:,} parameters")


def _check_names(paradigm: str, size: str) -> None:
    """Refuse a paradigm or size that there is not, before any data is read."""
    from fourfold.paradigms import cards, recipes

    card, _, recipe = paradigm.partition("/")
    if card not in cards() or (recipe and recipe not in cards()[card].recipes):
        raise ValueError(f"unknown paradigm {paradigm!r}: choose one of {', '.join(recipes())}")
    if size not in ("xs", "s", "m"):
        raise ValueError(f"unknown size {size!r}: choose xs, s or m")


# --- sample and score -------------------------------------------------------------------------------------------------


@app.command()
def sample(
    run: Folder,
    n: Annotated[int, typer.Option("-n", "--n", help="How many (of each prompt).", min=1)] = 64,
    cond: Annotated[str | None, typer.Option(help="A class, by number or name.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="A caption; may be given several times.")] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .png, .npy, .csv or .txt.  [default: in the run folder]")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Another sampler, such as Heun, UniPC or EulerMaruyama.  [default: the model's]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the sampler, where it has them.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance.")] = None,
    batch_size: Annotated[int, typer.Option(help="Samples drawn at once.", min=1)] = 256,
    precision: Annotated[str, typer.Option(help="float32, bf16 or autocast.")] = "float32",
) -> None:
    """Draw samples; needs nothing but the run folder."""
    from fourfold.engine import Run, inference
    from fourfold.engine.output import write_examples
    from fourfold.spaces import Images, Text

    loaded = Run.load(run)
    model = _adjusted(_resampled(loaded.model, sampler), steps, guidance)
    prompts = _prompts(model, prompt or [], cond)
    with inference(model, precision):
        if prompts:
            x = model.sample(n * len(prompts), [text for text in prompts for _ in range(n)], seed, batch_size)
        else:
            x = model.sample(n, _label(model, cond), seed, batch_size)
    if out is None and isinstance(model.space, Text):
        typer.echo("\n\n".join(model.space.show(ids) for ids in x))
        return
    path = out or run / ("samples.png" if isinstance(model.space, Images) else "samples.csv")
    typer.echo(write_examples(path, x, model.space, prompts))


def _prompts(model: GenerativeModel, prompts: list[str], cond: str | None) -> list[str]:
    """The captions that samples are drawn for; refused where the model knows none."""
    if prompts and model.space.caption is None:
        way = (
            "a class (--cond)"
            if model.space.classes is not None
            else "nothing: train with --conditional on captioned images"
        )
        raise ValueError(f"--prompt: this model is conditioned on {way}")
    if cond is not None and model.space.caption is not None:
        raise ValueError("--cond: this model is conditioned on captions: give --prompt")
    return prompts


def _resampled(model: GenerativeModel, name: str | None) -> GenerativeModel:
    """The model with the sampler of a name."""
    from fourfold.samplers import named

    return model if name is None else model.with_parts(sampler=named(name, model.estimand))


def _adjusted(model: GenerativeModel, steps: int | None, guidance: float | None) -> GenerativeModel:
    """The model with another number of solver steps or with guidance."""
    import dataclasses

    if steps is not None:
        names = [field.name for field in dataclasses.fields(model.sampler)]  # type: ignore[arg-type]
        if "steps" not in names:
            raise ValueError(f"--steps: {type(model.sampler).__name__} has no steps to set; leave it out")
        model = model.with_parts(sampler=dataclasses.replace(model.sampler, steps=steps))  # type: ignore[type-var]
    return model if guidance is None else _guided(model, guidance)


def _guided(model: GenerativeModel, scale: float) -> GenerativeModel:
    """The model under classifier-free guidance."""
    from fourfold.samplers.guidance import classifier_free

    if not model.space.conditional:
        raise ValueError("--guidance: this model is unconditional; train with --conditional")
    try:
        return classifier_free(model, scale).eval()
    except TypeError:
        kind = type(model.estimand).__name__
        raise ValueError(
            f"--guidance is for denoisers and vector fields, and this model is a {kind}: leave it out"
        ) from None


def _label(model: GenerativeModel, cond: str | None) -> int | None:
    """A class label, given by its number or its name."""
    if cond is None or cond.lstrip("-").isdigit():
        return None if cond is None else int(cond)
    names: tuple[str, ...] = getattr(model.space, "class_names", ())
    if cond not in names:
        raise ValueError(f"--cond {cond!r} is no class of this model: {', '.join(names) or 'it has none'}")
    return names.index(cond)


@app.command()
def score(
    run: Folder,
    data: Annotated[
        str | None, typer.Argument(help="A .npy, .csv or text, or what 'fit' takes.  [default: the run's own]")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test, of data that is split.")] = "test",
    limit: Annotated[int | None, typer.Option("-n", help="Score at most this many examples.", min=1)] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write one line per example to this .csv.")] = None,
    batch_size: Annotated[int, typer.Option(help="Examples scored at once.", min=1)] = 256,
) -> None:
    """Log-probabilities of examples, with what kind of number they are."""
    from fourfold.engine import Run

    loaded = Run.load(run)
    x, cond = _examples(loaded, data, split)
    rows = slice(None, limit)
    result = loaded.model.log_prob(x[rows], None if cond is None else cond[rows], seed, batch_size)
    _show_score(loaded.model, result)
    if out is not None:
        _write_scores(out, loaded.model, result)


def _examples(run: Run, data: str | None, split: str) -> tuple[Tensor, Tensor | None]:
    """Raw examples of the run's space: a whole file, or a split of a data set."""
    from fourfold.data import load
    from fourfold.spaces import Text

    space = run.model.space
    if split not in ("train", "validation", "test"):
        raise ValueError(f"--split {split!r}: choose train, validation or test")
    path = Path(data or "").expanduser()
    if data is not None and path.suffix in (".npy", ".csv") and path.is_file():
        return _from_file(path, run), None
    if data is not None and isinstance(space, Text) and path.is_file():
        content = path.read_bytes()
        ids = space.parse(content.decode()) if space.vocabulary else space.parse_bytes(content)
        return _windows(ids, space.length), None
    dataset = run.dataset() if data is None else load(data, conditional=space.conditional)
    part = getattr(dataset, split)
    if not isinstance(space, Text):
        return part.x, part.cond
    assert isinstance(dataset.space, Text)
    same = dataset.space.vocabulary == space.vocabulary
    return _windows(part.x if same else space.parse(dataset.space.show(part.x)), space.length), None


def _from_file(path: Path, run: Run) -> Tensor:
    """Every row of a ``.npy`` or ``.csv`` as examples of the run's space."""
    import numpy as np
    import torch

    from fourfold.spaces import Images, Vectors

    space = run.model.space
    array = (
        np.load(path, allow_pickle=False) if path.suffix == ".npy" else _columns(path, getattr(space, "columns", ()))
    )
    x = torch.from_numpy(np.ascontiguousarray(array))
    if isinstance(space, Vectors):
        x = x.float()
    if isinstance(space, Images):
        x = x.to(torch.uint8).reshape(-1, *space.shape)
    return x


def _columns(path: Path, wanted: tuple[str, ...]) -> np.ndarray:
    """The numbers of a ``.csv``: those of the wanted columns where a header names them all, else every column."""
    import numpy as np

    with path.open(encoding="utf-8") as file:
        header = [name.strip().strip('"') for name in file.readline().split(",")]
    named = bool(wanted) and set(wanted) <= set(header)
    array = np.genfromtxt(path, delimiter=",", usecols=[header.index(name) for name in wanted] if named else None)
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    array = array[1:] if np.isnan(array[0]).all() else array
    if wanted and array.shape[1] != len(wanted):
        raise ValueError(
            f"{path} has {array.shape[1]} columns, the run models {len(wanted)} ({', '.join(wanted[:4])}, ...): "
            "give the file a header with these names, or only these columns"
        )
    return array


def _windows(ids: Tensor, length: int) -> Tensor:
    """A stream of ids as windows that do not overlap; what is left at the end is dropped."""
    count = len(ids) // length
    if count == 0:
        raise ValueError(f"a text of {len(ids)} tokens is shorter than one window of {length}")
    return ids[: count * length].reshape(count, length)


def _show_score(model: GenerativeModel, result: LogProb) -> None:
    """The mean in the unit of the space, its standard error, kind and note."""
    import math

    unit = model.space.unit
    values = result.in_unit(unit).double()
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    kind = str(result.kind).replace("_", " ")
    number = f"{values.mean().item():.4f} ± {error:.4f} {unit}, " if not values.isnan().all() else ""
    typer.echo(f"{number}{kind}, {len(result)} examples")
    if result.note:
        typer.echo(result.note)


def _write_scores(path: Path, model: GenerativeModel, result: LogProb) -> None:
    unit = model.space.unit
    values = result.in_unit(unit)
    lines = [f"index,nats,{unit},kind"]
    lines += [f"{i},{n:.6f},{v:.6f},{result.kind}" for i, (n, v) in enumerate(zip(result.nats, values, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo(path)


# --- evaluate and compare ---------------------------------------------------------------------------------------------


@app.command()
def evaluate(
    run: Folder,
    data: Annotated[str | None, typer.Argument(help="Other data than the run's own.")] = None,
    n: Annotated[int, typer.Option("-n", help="Samples and references.", min=2)] = 2000,
    seed: Seed = 0,
    features: Annotated[str | None, typer.Option(help="Of images: pixels, efficientnet-lite0 or inception.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the scores to this .json.")] = None,
) -> None:
    """Measure a run: likelihood, quality, coverage, memorisation, cost, each with its interval and floor."""
    from fourfold.data import load
    from fourfold.engine import Run
    from fourfold.metrics import evaluate

    loaded = Run.load(run)
    dataset = loaded.dataset() if data is None else load(data, conditional=loaded.model.space.conditional)
    scores = evaluate(loaded.model, dataset, n=n, seed=seed, features=features)
    for found in scores:
        typer.echo(found)
    if out is not None:
        out.write_text(json.dumps([found.record() for found in scores], indent=1) + "\n", encoding="utf-8")
        typer.echo(out)


@app.command()
def compare(
    data: Data,
    budget: Annotated[str, typer.Option(help="Budget of each training: 30s, 10m, 2000 steps, ...")] = "1m",
    paradigms: Annotated[
        str | None,
        typer.Option(help="Names or recipes, separated by commas; by default all that suit.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each paradigm.", min=1)] = 1,
    seed: Seed = 0,
    size: Annotated[str, typer.Option(help="xs, s or m.")] = "s",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The report; its numbers lie beside it (report.html: results.json).")
    ] = Path("report.html"),
    runs_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Use what an earlier call left, or move it aside to NAME.old.")
    ] = True,
    n: Annotated[int, typer.Option("-n", "--n", help="Samples and references, at most.", min=16)] = 2000,
    features: Annotated[
        str | None,
        typer.Option(help="Feature space of images: pixels, efficientnet-lite0 or inception.", show_default=False),
    ] = None,
    likelihood_examples: Annotated[int, typer.Option(help="Test examples that are scored, at most.", min=2)] = 1024,
    patience: Annotated[
        float | None,
        typer.Option(
            help="Seconds that sampling and scoring may each take in a run; by default half the budget, at least 5.",
            show_default=False,
        ),
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep/--no-sweep", help="Try other numbers of sampling steps.")] = True,
    precision: PrecisionName = None,
    compile: Compile = None,
    conditional: Conditional = False,
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    limit: Limit = None,
    labels: Labels = None,
    length: Length = 256,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Train every paradigm on the same data under the same budget, and write a report.

    The exit code is 1 where a paradigm failed.
    """
    from fourfold.compare import compare
    from fourfold.engine import Interrupted

    try:
        comparison = compare(
            data,
            budget=budget,
            paradigms=None if paradigms is None else [name.strip() for name in paradigms.split(",")],
            seeds=seeds,
            seed=seed,
            size=size,
            out=out,
            runs_dir=runs_dir,
            resume=resume,
            n=n,
            features=features,
            likelihood_examples=likelihood_examples,
            patience=patience,
            sweep=sweep,
            precision=precision,
            compile=compile,
            device=device,
            data_options=_data_options(data_dir, conditional, skip_bad, limit, labels, length),
            say=_say,
        )
    except Interrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(130) from None
    typer.echo(comparison)
    typer.echo(f"report: {out}")
    if comparison.failed:
        raise typer.Exit(1)


# --- info and data ----------------------------------------------------------------------------------------------------


@app.command()
def info(
    subject: Annotated[str | None, typer.Argument(help="The folder of a run, a paradigm or a recipe.")] = None,
) -> None:
    """Show a run, a paradigm or a recipe: its two answers and what follows from them."""
    from fourfold import info

    if subject is None:
        typer.echo(info.overview())
    elif Path(subject).is_dir():
        typer.echo(info.of_run(Path(subject)))
    else:
        typer.echo(info.of_recipe(subject))


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A built-in set, a file, a folder of images, or 'get'.")] = None,
    fetched: Annotated[
        str | None, typer.Argument(metavar="[SET]", help="After 'get': the set to fetch from the network (emoji).")
    ] = None,
    seed: Seed = 0,
    conditional: Conditional = False,
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    limit: Limit = None,
    labels: Labels = None,
    length: Length = 256,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write 64 training examples to a .png, .npy, .csv or .txt.")
    ] = None,
) -> None:
    """Check and describe a data set; without a name, list the built-in ones; 'get' fetches one."""
    from fourfold.data import describe, load, names
    from fourfold.engine.output import write_examples
    from fourfold.spaces import Text

    if name == "get" or fetched is not None:
        _get(name, fetched, data_dir)
        return
    if name is None:
        typer.echo("\n".join(names()))
        return
    dataset = load(name, seed=seed, **_data_options(data_dir, conditional, skip_bad, limit, labels, length))
    typer.echo(describe(dataset))
    if out is not None:
        x = dataset.train.x
        x = _windows(x, dataset.space.length) if isinstance(dataset.space, Text) else x
        typer.echo(write_examples(out, x[:64], dataset.space))


def _get(name: str | None, fetched: str | None, data_dir: Path | None) -> None:
    """Fetch a set through the tool that has it."""
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
    typer.echo(describe(load("emoji", data_dir=folder)))


# --- others' commands, and errors -------------------------------------------------------------------------------------

app.command("place")(atlas.place)
app.command("map")(atlas.map_)

UsageError: Any = typer.BadParameter.__base__
"""What the parser raises; typer re-exports only its heirs."""

MISTAKES = (ValueError, TypeError, LookupError, OSError, ImportError)
"""What a wrong input raises: exit code 2."""

FAILURES = (ArithmeticError, RuntimeError, MemoryError, AssertionError)
"""What goes wrong although the input was right: exit code 1."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error is one line on standard error, with its trace where ``--debug`` is given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    sys.exit(_run([word for word in given if word != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    """Run a command and return its exit code."""
    try:
        return int(app(arguments, prog_name="fourfold", standalone_mode=False) or 0)
    except UsageError as error:
        return _tell(error, error.format_message(), 2, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MISTAKES as error:
        return _tell(error, str(error), 2, debug)
    except FAILURES as error:
        return _tell(error, str(error), 1, debug)
    except KeyboardInterrupt as error:
        return _tell(error, str(error) or "interrupted", 130, debug)


def _tell(error: BaseException, message: str, code: int, debug: bool) -> int:
    """Print an error as one line, and its trace if wanted."""
    if debug:
        traceback.print_exception(error)
    line = " ".join(message.split()) or type(error).__name__
    typer.echo(f"error: {line}", err=True)
    return code


if __name__ == "__main__":
    main()
