"""The work of ``fit``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer

from fourfold import engine
from fourfold.cli.commands.train import BEST, Fit
from fourfold.cli.printing import print_line, say, write_repeat
from fourfold.data import load
from fourfold.engine.estimate import estimates, planned
from fourfold.engine.progress import Bar
from fourfold.machine.threads import is_first
from fourfold.parallel.processes import under_torchrun
from fourfold.privacy import guarantee_words
from fourfold.runs.settings import FitKeywords, FitSettings
from fourfold.settings.data import DataKeywords
from fourfold.tournament import fit_best
from fourfold.vocabulary import AUTO

__all__ = ["fit", "new_folder"]


def fit(command: Fit) -> None:
    """Train a model, or print what its training needs."""
    paradigm, data, out, resume = command.paradigm, command.data, command.out, command.resume
    if resume is None and (paradigm is None or data is None):
        raise typer.BadParameter("give a paradigm and data, or --resume and the folder of a run")
    if resume is not None and out not in (None, resume):
        raise ValueError(f"--out must be left out with --resume, which names the run folder {resume}, got {out}")
    settings: FitKeywords = {**command.settings, "data_options": command.data_options, "opening": command.opening}
    if command.ranks is not None and not command.dry_run:
        raise ValueError("--ranks must be left out without --dry-run; torchrun starts the processes of a training")
    if command.dry_run:
        _print_needs(paradigm, data, settings, command.ranks, command.as_json)
        return
    if under_torchrun() and resume is None and out is None:
        raise ValueError("--out must name the run folder, since torchrun starts several processes, which must agree")
    folder = resume or out or new_folder(paradigm, data, settings)
    if paradigm == BEST and data is not None and resume is None:
        _race(command, data, folder, settings)
        return
    if command.aim is not None or command.candidates is not None:
        raise ValueError(f"paradigm must be best with --aim and --candidates, got {paradigm}")
    try:
        with Bar(paradigm or str(folder)) as bar:
            run = engine.fit(
                paradigm,
                data,
                out=folder,
                resume=resume is not None,
                observe=bar if is_first() else None,
                say=bar.say if is_first() else None,
                **settings,
            )
    except engine.Interrupted as interruption:
        say(f"{interruption}; go on with: fourfold fit --resume {folder}")
        raise typer.Exit(130) from None
    card = run.card
    if not is_first():
        return
    if resume is None:
        write_repeat(folder / "run.toml", command.context)
    if command.as_json:
        print_line(json.dumps({"run": str(folder), **card}, indent=1))
        return
    print_line(f"{folder}: {card['steps']} steps in {card['seconds']:.1f} s, {card['parameters']:,} parameters")
    if words := guarantee_words(card):
        print_line(words)


def _race(command: Fit, data: str, folder: Path, settings: FitKeywords) -> None:
    """Train the best model of data."""
    names = None if command.candidates is None else [name.strip() for name in command.candidates.split(",")]
    try:
        with Bar(BEST) as bar:
            race = fit_best(
                data,
                out=folder,
                aim=command.aim or "distance",
                candidates=names,
                observe=bar,
                say=bar.say,
                **settings,
            )
    except engine.Interrupted:
        say(f"the race in {folder} is interrupted; the same command with --out {folder} goes on")
        raise typer.Exit(130) from None
    write_repeat(folder / "run.toml", command.context)
    print_line(json.dumps({"run": str(folder), **race.run.card}, indent=1) if command.as_json else race)
    if not command.as_json:
        print_line(f"{folder}: {race.run.card['steps']} steps in {race.run.card['seconds']:.1f} s")


def _print_needs(
    paradigm: str | None, data: str | None, settings: FitKeywords, ranks: int | None, as_json: bool
) -> None:
    """Print the memory and time that a training would need.

    Raises:
        ValueError: if there is nothing to estimate.
    """
    if paradigm is None or data is None:
        raise ValueError(f"--dry-run must have a paradigm and data, got {paradigm} and {data}")
    checked = FitSettings().changed(**settings)
    reading: DataKeywords = {"seed": checked.seed, **checked.data_options}
    space = load(data, **reading).space
    model = planned(paradigm, space, "s" if checked.size == AUTO else checked.size)
    preset = checked.applied_to(model.training_defaults)
    low = checked.precision in ("bf16", "autocast")
    ranks = ranks or int(os.environ.get("WORLD_SIZE", "1"))
    needs = estimates(model, preset, ranks, low, checked.recompute)
    if as_json:
        print_line(json.dumps([need.record() for need in needs], indent=1))
    else:
        print_line("\n\n".join(need.table() for need in needs))


def new_folder(paradigm: str | None, data: str | None, settings: FitKeywords) -> Path:
    """The first folder in ``runs`` that does not exist yet, named by the paradigm, the data, the size and the seed.

    A published model is named by its folder or file.
    """
    published = paradigm is not None and Path(paradigm).exists()
    name = Path(str(paradigm)).resolve().stem if published else str(paradigm).replace("/", "-")
    stem = f"{name}-{Path(data or '').stem}-{settings.get('size') or AUTO}-{settings.get('seed') or 0}"
    numbered = (Path("runs") / (stem if i == 1 else f"{stem}-{i}") for i in range(1, 10_000))
    return next(path for path in numbered if not path.exists())
