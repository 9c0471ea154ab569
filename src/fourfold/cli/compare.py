"""The work of ``compare``, ``demo`` and ``judge``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from fourfold.cli.commands.compare import Compare, Demo, Judge
from fourfold.cli.printing import print_line, say, write_repeat
from fourfold.engine import Interrupted
from fourfold.settings.data import DataKeywords
from fourfold.tournament import Comparison, Settings, gather, print_jobs, run_comparison
from fourfold.tournament import judge as judge_samples

__all__ = ["compare", "demo", "judge"]


def compare(command: Compare) -> None:
    """Train and compare; or gather runs of other machines; or print the command of each run."""
    if command.run_folders:
        comparison = gather(command.run_folders, command.out, command.settings["samples"] or (), say)
        _show(comparison, command.out, command.as_json)
        return
    if command.data is None:
        raise ValueError("data must be given, or the runs to report on by --from; got neither")
    names = command.settings["paradigms"]
    settings = Settings.of(
        **{
            **command.settings,
            "paradigms": None if names is None else [name.strip() for name in names.split(",")],
            "data_options": command.data_options,
            "out": command.out,
            "runs_dir": command.runs_dir,
        }
    )
    if command.print_jobs:
        print_line("\n".join(print_jobs(command.data, settings, say=say)))
        return
    try:
        comparison = run_comparison(command.data, settings, say=say)
    except Interrupted as interruption:
        say(interruption)
        raise typer.Exit(130) from None
    write_repeat(command.out.with_suffix(".toml"), command.context)
    _show(comparison, command.out, command.as_json)


def _show(comparison: Comparison, out: Path, as_json: bool) -> None:
    """Print a comparison. The exit code is 1 if a paradigm failed."""
    if as_json:
        print_line(json.dumps(comparison.record(), indent=1))
    else:
        print_line(comparison)
        print_line(f"report: {out}")
    if comparison.failed:
        raise typer.Exit(1)


def demo(command: Demo) -> None:
    """Compare small models of all paradigms on digits, and say how to go on."""
    settings = Settings(
        budget=DEMO_BUDGET,
        paradigms=DEMO,
        size="xs",
        n=180,
        likelihood_examples=180,
        patience=5.0,
        sweep=False,
        out=str(command.out),
        runs_dir=str(command.runs_dir),
    )
    try:
        comparison = run_comparison("digits", settings, say=say)
    except Interrupted as interruption:
        say(f"{interruption}; go on with: fourfold demo")
        raise typer.Exit(130) from None
    folders = {entry.name: entry.outcomes[0].folder / "run" for entry in comparison.entries}
    example = folders.get("diffusion", command.runs_dir)
    print_line(comparison)
    print_line(f"""
Look at {command.out}: samples of each paradigm, likelihoods with their kind,
distances with intervals, and what may go wrong with each.

Try next:
  fourfold sample {example} -n 100 --out new.png
  fourfold compare YOUR_DATA --budget 2m      a folder of images, a table, a text
  fourfold info diffusion                     the two answers of a paradigm
  fourfold place "Stable Diffusion"           where a system stands on the map""")
    if comparison.failed:
        raise typer.Exit(1)


def judge(command: Judge) -> None:
    """Measure samples of any system beside real data."""
    options: DataKeywords = {**command.data_options, "seed": command.seed}
    judgement = judge_samples(
        command.real,
        command.synthetic,
        train=command.train,
        held_out=command.held_out,
        n=command.n,
        features=command.features,
        out=command.out,
        say=say,
        **options,
    )
    if command.as_json:
        print_line(json.dumps(judgement.record(), indent=1))
    else:
        print_line(judgement)
        print_line(f"report: {command.out}")


DEMO_BUDGET = "400 steps or 30s"
DEMO = ("autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy", "latent-diffusion")
