"""Commands that compare paradigms: ``compare`` and ``demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourfold.cli.configfile import Config
from fourfold.cli.options import (
    AsJson,
    Budget,
    Compile,
    Data,
    DataOptions,
    Device,
    Features,
    PrecisionName,
    Report,
    RunsDir,
    Seed,
    Size,
    Threads,
    cluster,
    measuring,
    with_data_options,
)
from fourfold.cli.printing import print_line, say, write_repeat
from fourfold.machine.threads import set_threads

if TYPE_CHECKING:
    from fourfold.tournament import Comparison

__all__ = ["compare", "demo"]


@with_data_options
def compare(
    context: typer.Context,
    options: DataOptions,
    data: Data = None,
    budget: Budget = "1m",
    paradigms: Annotated[
        str | None,
        typer.Option(
            "--paradigms",
            "--models",
            help="Paradigms or recipes, separated by commas; for text also published models, as a folder or GGUF file.",
            show_default="all paradigms that model the data",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of runs of each paradigm.", min=1, metavar="N")] = 1,
    seed: Seed = 0,
    size: Size = "auto",
    out: Report = Path("report.html"),
    runs_dir: RunsDir = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Continue earlier runs, or move them to NAME.old and start anew.")
    ] = True,
    device: Device = "auto",
    threads: Threads = None,
    ray: Annotated[
        str | None,
        cluster(
            help="Make the runs as tasks of a Ray cluster: its address, or auto for one here.",
            show_default="one after the other, here",
        ),
    ] = None,
    cpus: Annotated[
        int | None,
        cluster(
            help="Processors of each task of Ray.",
            min=1,
            metavar="N",
            show_default="those of a node",
        ),
    ] = None,
    gpus: Annotated[float, cluster(help="GPUs of each task of Ray.", min=0, metavar="X")] = 0.0,
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
    features: Features = None,
    config: Config = None,
    as_json: AsJson = False,
    precision: PrecisionName = None,
    compile: Compile = None,
    n: Annotated[
        int,
        measuring("-n", "--n", help="The most samples and references.", min=16, metavar="N"),
    ] = 2000,
    likelihood_examples: Annotated[
        int,
        measuring(help="The most test examples to score.", min=2, metavar="N"),
    ] = 1024,
    patience: Annotated[
        float | None,
        measuring(
            help="The most seconds that a run may take to sample, and again to score.",
            show_default="half the budget, at least 5",
            metavar="X",
        ),
    ] = None,
    sweep: Annotated[
        bool,
        measuring("--sweep/--no-sweep", help="Also measure other numbers of sampling steps."),
    ] = True,
) -> None:
    """Train every paradigm on the same data and budget, and write a report.

    The exit code is 1 if a paradigm failed.
    """
    set_threads(threads)
    from fourfold.engine import Interrupted
    from fourfold.tournament import Settings, gather, run_comparison
    from fourfold.tournament import print_jobs as commands_of

    if gathered:
        _show(gather(gathered, out), out, as_json)
        return
    if data is None:
        raise ValueError("name the data to compare on, or give the runs to report on by --from")
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
        ray=ray,
        cpus=cpus,
        gpus=gpus,
        data_options=options.given() or None,
        out=str(out),
        runs_dir=str(runs_dir),
        resume=resume,
    )
    if print_jobs:
        print_line("\n".join(commands_of(data, settings, say=say)))
        return
    try:
        comparison = run_comparison(data, settings, say=say)
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
