"""Commands that compare paradigms: ``compare`` and ``demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold.cli.configfile import Config
from fourfold.cli.options import (
    AsJson,
    Data,
    DataOptions,
    Report,
    RunsDir,
    Threads,
    cluster,
    with_data_options,
    with_settings,
)
from fourfold.cli.printing import print_line, say, write_repeat
from fourfold.machine.threads import set_threads
from fourfold.tournament.settings import Settings

if TYPE_CHECKING:
    from fourfold.tournament import Comparison

__all__ = ["compare", "demo"]


@with_data_options
@with_settings(Settings)
def compare(
    context: typer.Context,
    options: DataOptions,
    data: Data = None,
    *,
    settings: dict[str, Any],
    out: Report = Path("report.html"),
    runs_dir: RunsDir = Path("runs"),
    threads: Threads = None,
    print_jobs: Annotated[
        bool,
        cluster(
            "--print-jobs",
            help="Train nothing: print the command of each run, for a scheduler.",
        ),
    ] = False,
    gathered: Annotated[
        list[Path] | None,
        cluster(
            "--from",
            help="Train nothing: report on the runs in this folder, from any machine. Can be repeated.",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Train every paradigm on the same data and budget, and write a report.

    The exit code is 1 if a paradigm failed.
    """
    set_threads(threads)
    from fourfold.engine import Interrupted
    from fourfold.tournament import gather, run_comparison
    from fourfold.tournament import print_jobs as commands_of

    if gathered:
        _show(gather(gathered, out), out, as_json)
        return
    if data is None:
        raise ValueError("name the data to compare on, or give the runs to report on by --from")
    names = settings.pop("paradigms")
    asked = Settings.of(
        paradigms=None if names is None else [name.strip() for name in names.split(",")],
        data_options=options.given(),
        out=out,
        runs_dir=runs_dir,
        **settings,
    )
    if print_jobs:
        print_line("\n".join(commands_of(data, asked, say=say)))
        return
    try:
        comparison = run_comparison(data, asked, say=say)
    except Interrupted as stopped:
        say(stopped)
        raise typer.Exit(130) from None
    write_repeat(out.with_suffix(".toml"), context)
    _show(comparison, out, as_json)


def _show(comparison: Comparison, out: Path, as_json: bool) -> None:
    """Print a comparison; the exit code is 1 if a paradigm failed."""
    if as_json:
        print_line(json.dumps(comparison.record(), indent=1))
    else:
        print_line(comparison)
        print_line(f"report: {out}")
    if comparison.failed:
        raise typer.Exit(1)


def demo(
    out: Report = Path("report.html"),
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Train a small model of every paradigm on digits, and write a report.

    Each model trains for 400 steps or 30 seconds, whichever ends first. All of it
    takes at most six minutes.
    """
    set_threads()
    from fourfold.engine import Interrupted
    from fourfold.tournament import run_comparison

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
        comparison = run_comparison("digits", settings, say=say)
    except Interrupted as stopped:
        say(f"{stopped}; go on with: fourfold demo")
        raise typer.Exit(130) from None
    folders = {entry.name: entry.outcomes[0].folder / "run" for entry in comparison.entries}
    shown = folders.get("diffusion", runs_dir)
    print_line(comparison)
    print_line(f"""
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
