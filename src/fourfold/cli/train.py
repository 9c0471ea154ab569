"""The command that trains a model: ``fit``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from fourfold.cli.configfile import Config
from fourfold.cli.options import (
    AsJson,
    Data,
    DataOptions,
    Threads,
    with_data_options,
    with_settings,
)
from fourfold.cli.printing import print_line, say, write_repeat
from fourfold.machine.threads import is_first, set_threads
from fourfold.runs.settings import FitKeywords, FitSettings
from fourfold.vocabulary import AUTO

__all__ = ["fit"]


@with_data_options
@with_settings(FitSettings, given=True)
def fit(
    context: typer.Context,
    options: DataOptions,
    paradigm: Annotated[
        str | None,
        typer.Argument(
            help="A paradigm or recipe, such as 'diffusion' or 'diffusion/velocity'; or a published language model to "
            "tune: a folder of transformers or a GGUF file."
        ),
    ] = None,
    data: Data = None,
    *,
    settings: FitKeywords,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default="a new folder in runs/")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.", show_default=False)] = None,
    threads: Threads = None,
    config: Config = None,
    as_json: AsJson = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the memory and time that the training needs, and train nothing.")
    ] = False,
    ranks: Annotated[
        int | None,
        typer.Option(
            help="With --dry-run: the number of processes.",
            min=1,
            metavar="N",
            show_default="those that torchrun started, or 1",
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
    settings["data_options"] = options.given()
    if ranks is not None and not dry_run:
        raise ValueError("ranks is asked for by --dry-run alone: torchrun starts the processes of a training")
    if dry_run:
        _say_needs(paradigm, data, settings, ranks, as_json)
        return
    from fourfold.engine import Interrupted, fit
    from fourfold.engine.progress import Bar
    from fourfold.parallel.processes import under_torchrun

    first = is_first()
    if under_torchrun() and resume is None and out is None:
        raise ValueError("torchrun starts several processes, which must agree: name the run folder with --out")
    size, seed = settings.get("size") or AUTO, settings.get("seed") or 0
    folder = resume or out or _free(f"{_name(paradigm)}-{Path(data or '').stem}-{size}-{seed}")
    try:
        with Bar(paradigm or str(folder)) as bar:
            run = fit(
                paradigm,
                data,
                out=folder,
                resume=resume is not None,
                observe=bar if first else None,
                say=bar.say if first else None,
                **settings,
            )
    except Interrupted as stopped:
        say(f"{stopped}; go on with: fourfold fit --resume {folder}")
        raise typer.Exit(130) from None
    card = run.card
    if not first:
        return
    if resume is None:
        write_repeat(folder / "run.toml", context)
    if as_json:
        print_line(json.dumps({"run": str(folder), **card}, indent=1))
        return
    print_line(f"{folder}: {card['steps']} steps in {card['seconds']:.1f} s, {card['parameters']:,} parameters")


def _say_needs(paradigm: str | None, data: str | None, settings: FitKeywords, ranks: int | None, as_json: bool) -> None:
    """Print the memory and time that a training would need.

    Raises:
        ValueError: if there is nothing to estimate.
    """
    if paradigm is None or data is None:
        raise ValueError("a dry run estimates what begins: give a paradigm and data")
    from fourfold.data import load
    from fourfold.engine.estimate import estimates, planned

    checked = FitSettings().changed(**settings)
    space = load(data, **{"seed": checked.seed, **checked.data_options}).space
    model = planned(paradigm, space, "s" if checked.size == AUTO else checked.size)
    preset = checked.applied_to(model.training_defaults)
    low = checked.precision in ("bf16", "autocast")
    ranks = ranks or int(os.environ.get("WORLD_SIZE", "1"))
    found = estimates(model, preset, ranks, low, checked.recompute)
    if as_json:
        print_line(json.dumps([one.record() for one in found], indent=1))
    else:
        print_line("\n\n".join(one.table() for one in found))


def _name(paradigm: str | None) -> str:
    """A paradigm in the name of a folder; of a published model, the name of its folder or file."""
    published = paradigm is not None and Path(paradigm).exists()
    return Path(str(paradigm)).resolve().stem if published else str(paradigm)


def _threads_of(folder: Path | None) -> int | None:
    """The number of threads that a run was trained with; another number would round sums differently."""
    try:
        return int(json.loads(((folder or Path()) / "card.json").read_text(encoding="utf-8"))["hardware"]["threads"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _free(name: str) -> Path:
    """The first run folder of a name that does not exist yet."""
    stem = name.replace("/", "-")
    numbered = (Path("runs") / (stem if i == 1 else f"{stem}-{i}") for i in range(1, 10_000))
    return next(path for path in numbered if not path.exists())
