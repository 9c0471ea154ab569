"""One report of runs that ended elsewhere: their folders are read, and nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fourfold.tournament.comparison import Comparison
from fourfold.tournament.jobs import Job, outcome_of, read_job
from fourfold.tournament.outputs import check_outputs
from fourfold.tournament.outside import of_settings
from fourfold.tournament.settings import EVERY, Settings
from fourfold.tournament.snapshot import load_snapshot
from fourfold.tournament.tournament import comparison_of

__all__ = ["gather"]

SHARED = ("digest", "budget", "size", "precision", "compile", "evaluation")
"""The fields in which the jobs of one comparison agree."""


def gather(
    runs: Sequence[Path],
    out: Path | None = None,
    samples: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Compare the runs in some folders. Those that have not ended are counted as missing.

    Args:
        runs: folders of runs (``--runs-dir`` of a comparison), or single runs.
        out: the file of the report.
        samples: samples of other systems, as for :func:`fourfold.compare`.
        say: is called with notes on these.

    Raises:
        ValueError: if there are no runs, none has a result, two are of one paradigm and seed, or they are
            of different comparisons or of a cross-validation.
    """
    if out is not None:
        check_outputs(out)
    folders = _jobs(runs)
    jobs = [job for _, job in folders]
    first = jobs[0]
    names = tuple(dict.fromkeys(job.paradigm for job in jobs))
    seeds = sorted({job.seed for job in jobs})
    about = first.evaluation
    settings = Settings(
        budget=first.budget,
        paradigms=names,
        seeds=seeds[-1] - seeds[0] + 1,
        seed=seeds[0],
        size=first.size,
        n=about.n,
        features=about.features,
        likelihood_examples=about.likelihood_examples,
        patience=about.patience,
        sweep=about.sweep,
        precision=first.precision,
        compile=first.compile,
        out=None if out is None else str(out),
        runs_dir=str(runs[0]),
        samples=tuple(samples) or None,
    )
    outcomes = [outcome for folder, job in folders if (outcome := outcome_of(job, folder)) is not None]
    if not any(outcome.result for outcome in outcomes):
        raise ValueError(f"--from {runs[0]} must hold a finished run, got {len(jobs)} without a result; run them first")
    dataset = load_snapshot(_snapshot(first, [folder for folder, _ in folders]))
    outside = of_settings(settings, dataset, say)
    comparison = replace(comparison_of(settings, [dataset], names, outcomes, dataset.name, outside), planned=len(jobs))
    if out is not None:
        comparison.save(out)
    return comparison


def _jobs(runs: Sequence[Path]) -> list[tuple[Path, Job]]:
    """The folders of jobs, each with its job. Jobs that were moved aside are left alone."""
    jobs: dict[tuple[str, int], tuple[Path, Job]] = {}
    for root in runs:
        if not root.is_dir():
            raise ValueError(f"--from must be a folder, got {root}; give the --runs-dir of a comparison")
        for folder in [root, *sorted(root.iterdir())]:
            if folder.suffix == ".old" or not (folder / "job.json").is_file():
                continue
            try:
                job = read_job(folder)
            except (TypeError, ValueError, KeyError) as error:
                raise ValueError(f"{folder / 'job.json'} is damaged ({error}); remove the folder, or repeat") from None
            if job.evaluation.likelihood_examples == EVERY:
                raise ValueError(
                    f"--from must hold runs without folds, got one part of a cross-validation in {folder}; repeat "
                    f"the comparison with its --folds and --runs-dir {root}, which takes up runs that have ended"
                )
            first_folder, _ = jobs.setdefault((job.paradigm, job.seed), (folder, job))
            if first_folder != folder:
                raise ValueError(
                    f"runs must be of different recipes or seeds, got {folder} and {first_folder}, both "
                    f"{job.paradigm} with seed {job.seed}; give one of them"
                )
            _check_alike(folder, job, next(iter(jobs.values())))
    if not jobs:
        raise ValueError(f"--from {runs[0]} must hold runs of a comparison, got none; give its --runs-dir")
    return sorted(jobs.values(), key=lambda pair: (pair[1].seed, str(pair[0])))


def _check_alike(folder: Path, job: Job, first: tuple[Path, Job]) -> None:
    for name in SHARED:
        was, now = getattr(first[1], name), getattr(job, name)
        if was != now:
            raise ValueError(
                f"{folder}: {name} must be {was!s:.60} as in {first[0]}, got {now!s:.60}; gather runs of one comparison"
            )


def _snapshot(job: Job, folders: Sequence[Path]) -> Path:
    """The file of the data, where it was or beside the runs."""
    places = [Path(job.data), *(folder.parent / "data" / Path(job.data).name for folder in folders)]
    for place in places:
        if place.is_file():
            return place
    raise ValueError(f"{job.data}, the data of the runs, is missing; copy it to {places[-1]}")
