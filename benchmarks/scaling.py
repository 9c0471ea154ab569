"""Quality against steps, width and batch: the study behind ``--size auto``.

    python benchmarks/scaling.py run [--data fashion-mnist] [--paradigms diffusion,...] [--sizes s/8,...] [--parts 1,4]

Quality after a number of steps does not depend on the machine. So each pair of a size and a batch is trained once, at a
constant rate, on one core; at steps that double, the averaged weights are judged by the held-out loss and, where
samples are cheap, by the Frechet distance of 200 of them. Times are seconds of processor time, since other work may run
beside. ``python benchmarks/scaling.py speeds`` times steps of the same pairs on machines of other speeds, which the
caller makes: ``OMP_NUM_THREADS`` sets the threads, ``ONEDNN_MAX_CPU_ISA=AVX2`` takes the fast kernels away. Every
result is one line of ``benchmarks/results/scaling.jsonl``; a line that is there already is not measured again.
``python benchmarks/scaling.py page`` writes ``docs/scaling.md`` and its plot from these lines.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fourfold import build
from fourfold.core import Training
from fourfold.data import Dataset, load
from fourfold.engine.auto import ENOUGH, POWER, needs_of
from fourfold.engine.heldout import HeldOut
from fourfold.engine.loop import Loop
from fourfold.engine.training import begin
from fourfold.runs.precision import parse_precision
from fourfold.tasks.evaluation import examples, headline

RESULTS = Path(__file__).parent / "results" / "scaling.jsonl"
DOCS = Path(__file__).parents[1] / "docs"
PARADIGMS = ("diffusion", "latent-variable", "adversarial", "autoregressive", "flow", "energy")
SIZES = ("s/8", "s/4", "s/2", "s")
SECONDS: Mapping[str, float] = {"s/8": 20, "s/4": 30, "s/2": 60, "s": 120, "m": 200}
"""Seconds of processor time for the steps of each size."""
CODES, GAME = "latent-variable/convolutional", "adversarial/wasserstein"
SAMPLED = ("diffusion", "latent-variable", "adversarial")
SAMPLES = 200
FIRST, LAST = 25, 6400
"""The steps at which quality is measured first and last."""


def pairs(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Paradigms, sizes and batches in turn; a batch is the preset's, divided by one of ``--parts``."""
    for part in options.parts.split(","):
        for paradigm in options.paradigms.split(","):
            for size in options.sizes.split(","):
                yield paradigm, size, int(part)


def started(paradigm: str, size: str, part: int, data: Dataset, precision: str) -> Loop:
    """A loop with fresh weights at a constant rate, which is reached in about 20 steps."""
    torch.manual_seed(0)
    model = build(paradigm, data.space, size)
    preset = model.training_defaults
    training = replace(preset, batch_size=max(preset.batch_size // part, 8), cooldown=0.0, warmup=0.0)
    return begin(model, data, training, seed=0, precision=parse_precision(precision))


def earlier_records() -> list[dict[str, Any]]:
    """The results that are there."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def keep(record: Mapping[str, Any]) -> None:
    """Add a result."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def faster(paradigm: str, size: str, part: int, data: Dataset) -> str:
    """The precision in which steps take less time here."""

    def seconds(precision: str) -> float:
        loop = started(paradigm, size, part, data, precision)
        return min(timed(loop) for _ in range(4))

    return min(("float32", "bf16"), key=seconds)


def timed(loop: Loop) -> float:
    """The processor time of one step."""
    start = time.process_time()
    loop.step(0.01)
    return time.process_time() - start


def judged(loop: Loop, data: Dataset, held_out: HeldOut, sampled: bool) -> dict[str, float]:
    """The quality of the averaged weights."""
    losses = {name.rpartition("/")[2]: value for name, value in held_out(last=True).items()}
    if sampled:
        references = examples(data, SAMPLES)
        with loop.judging():
            x = loop.model.sample(SAMPLES, references.cond, seed=0)
        losses["frechet"] = headline(x, data, references).value
    return {name: round(value, 5) for name, value in losses.items()}


def study(paradigm: str, size: str, part: int, data: Dataset, seconds: float) -> dict[str, Any]:
    """Train one pair, and judge it at steps that double."""
    precision = faster(paradigm, size, part, data)
    loop = started(paradigm, size, part, data, precision)
    held_out, spent, curve = HeldOut(loop, data, on=False), 0.0, []
    due = FIRST
    while spent < seconds and loop.progress.steps < LAST:
        step = timed_step(loop)
        spent += step
        if loop.progress.steps == due or spent >= seconds:
            sampled = paradigm in SAMPLED and loop.progress.steps >= 50
            curve.append({"step": loop.progress.steps, "cpu": round(spent, 3), **judged(loop, data, held_out, sampled)})
            due *= 2
    training: Training = loop.training
    return {
        "kind": "curve",
        "data": Path(data.name).stem,
        "paradigm": paradigm,
        "size": size,
        "batch": training.batch_size,
        "part": part,
        "parameters": sum(p.numel() for p in loop.model.estimand.parameters()),
        "precision": precision,
        "curve": curve,
    }


def timed_step(loop: Loop) -> float:
    """One step at the rate of the study, and its processor time."""
    start = time.process_time()
    loop.step(min((loop.progress.steps + 1) / 20, 1.0))
    return time.process_time() - start


def speed(paradigm: str, size: str, part: int, data: Dataset, label: str) -> dict[str, Any]:
    """The shortest seconds of a step on this machine as its environment makes it, and the precision that is used."""
    times = {}
    for precision in ("float32", "bf16"):
        if precision == "bf16" and os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2":
            continue  # its products are emulated
        loop = started(paradigm, size, part, data, precision)
        timed(loop)
        times[precision] = min(timed(loop) for _ in range(5))
    fastest = min(times, key=lambda name: times[name])
    return {
        "kind": "speed",
        "machine": label,
        "data": Path(data.name).stem,
        "paradigm": paradigm,
        "size": size,
        "part": part,
        "precision": fastest,
        "seconds": round(times[fastest], 5),
    }


# --- what follows from the curves -------------------------------------------------------------------------------------

BUDGETS = (15, 60, 120, 600)
MEASURES: Mapping[str, str] = dict.fromkeys(SAMPLED, "frechet") | dict.fromkeys(
    ("autoregressive", "flow", "energy"), "held_out"
)
"""Frechet distance where samples are cheap, held-out loss for the others: what each paradigm is judged by."""
TICKS: Mapping[str, Sequence[float]] = {
    "frechet": (300, 400, 500),
    "held_out": (0.3, 0.4, 0.5, 0.7, 1, 2, 2.5, 3),
}
QUARTER = "AVX2, a quarter of a core"


def points(curve: Sequence[Mapping[str, float]], measure: str) -> list[tuple[float, float]]:
    """Steps and quality, where it was measured."""
    return [(entry["step"], entry[measure]) for entry in curve if measure in entry]


FARTHEST: Mapping[str, int] = {"frechet": 4, "held_out": 1}
"""Nothing is said beyond this multiple of the steps that were run, or below the first that was measured.

A held-out loss approaches a floor that nobody knows, so a straight line beyond the curve would promise too much.
"""


def quality(known_points: Sequence[tuple[float, float]], steps: float, farthest: int) -> tuple[float, bool]:
    """Quality after a number of steps, and whether it is a guess.

    Between measured steps it lies on a straight line of the logarithms. Beyond, up to ``farthest`` times the steps, it
    follows the slope that fits the last four best, and it is NaN where nothing is said.
    """
    logs = [(math.log(step), math.log(value)) for step, value in known_points]
    at = math.log(max(steps, 1.0))
    if at < logs[0][0] or at > logs[-1][0] + math.log(farthest):
        return math.nan, True
    if at <= logs[-1][0]:
        (a, u), (b, v) = next(pair for pair in itertools.pairwise(logs) if at <= pair[1][0])
        return math.exp(u + (v - u) * (at - a) / (b - a)), False
    slope, height = statistics.linear_regression(*zip(*logs[-4:], strict=True))
    return math.exp(height + slope * at), True


def seconds_of(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], float]:
    """Seconds of a step by machine, paradigm and size; a quarter of a core takes four times as long."""
    by_size = {}
    for r in records:
        if r["kind"] == "speed" and r["part"] == 1:
            by_size[r["machine"], r["paradigm"], r["size"]] = r["seconds"]
            if r["machine"].startswith("AVX2"):
                by_size[QUARTER, r["paradigm"], r["size"]] = 4 * r["seconds"]
    return by_size


def table(records: Sequence[Mapping[str, Any]], paradigm: str, machine: str) -> list[str]:
    """Rows of the page: quality of each size at each budget; the best is bold, a guess has a star.

    Where a narrower size than the best is unknown, it may be better still, so nothing is bold.
    """
    curves = {r["size"]: points(r["curve"], MEASURES[paradigm]) for r in first_parts(records, paradigm)}
    farthest = FARTHEST[MEASURES[paradigm]]
    seconds = seconds_of(records)
    rows = {size: [f"{1e3 * seconds[machine, paradigm, size]:.0f} ms"] for size in SIZES if size in curves}
    for budget in BUDGETS:
        values = {
            size: quality(curves[size], 0.9 * budget / seconds[machine, paradigm, size], farthest) for size in rows
        }
        earlier_records = list(itertools.dropwhile(math.isnan, (value for value, _ in reversed(values.values()))))
        least = math.nan if any(map(math.isnan, earlier_records)) else min(earlier_records, default=math.nan)
        for size, (value, beyond) in values.items():
            digits = 0 if MEASURES[paradigm] == "frechet" else 3
            cell = "?" if math.isnan(value) else f"{value:.{digits}f}" + ("\\*" if beyond else "")
            rows[size].append(f"**{cell}**" if value == least else cell)
    return [f"| {paradigm} | {machine} | {size} | {' | '.join(cells)} |" for size, cells in rows.items()]


def crossing(
    records: Sequence[Mapping[str, Any]], paradigm: str, narrow: str, wide: str, machine: str
) -> tuple[float, bool] | None:
    """The steps from which a size is better than the next narrower one in equal time, and whether it is a guess.

    ``None`` where a curve is missing, infinity where the wider size is never ahead as far as the curves reach.
    """
    curves = {r["size"]: points(r["curve"], MEASURES[paradigm]) for r in first_parts(records, paradigm)}
    farthest = FARTHEST[MEASURES[paradigm]]
    seconds = seconds_of(records)
    if not {narrow, wide} <= curves.keys():
        return None
    ratio = seconds[machine, paradigm, wide] / seconds[machine, paradigm, narrow]
    ahead: tuple[float, bool] = (math.inf, False)
    for steps in (round(1.05**k) for k in range(180, 60, -1)):  # from many steps to few
        (ours, guess), (theirs, other) = (
            quality(curves[wide], steps, farthest),
            quality(curves[narrow], steps * ratio, farthest),
        )
        if math.isnan(ours) or math.isnan(theirs):
            continue
        if ours > theirs:
            break
        ahead = (steps, guess or other)
    return ahead


def crossings(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of the page: the crossing of each pair of neighbouring sizes, for each paradigm and machine."""
    machines = ("AMX, one core", "AVX2, one core")
    rows = []
    for paradigm, machine in itertools.product(MEASURES, machines):
        points_of_crossing = [crossing(records, paradigm, *pair, machine) for pair in itertools.pairwise(SIZES)]
        cells = [
            "" if point is None else "not yet" if math.isinf(point[0]) else starred(point)
            for point in points_of_crossing
        ]
        rows.append(f"| {paradigm} | {machine} | {' | '.join(cells)} |")
    return rows


def starred(point: tuple[float, bool]) -> str:
    """Steps, with a star where they are a guess."""
    return f"{point[0]:.0f}" + ("\\*" if point[1] else "")


def first_parts(
    records: Sequence[Mapping[str, Any]], paradigm: str, data: str = "fashion-mnist"
) -> list[Mapping[str, Any]]:
    """The curves of a paradigm with the preset's batch."""
    wanted = {"kind": "curve", "data": data, "paradigm": paradigm, "part": 1}
    return [r for r in records if wanted.items() <= r.items()]


def plot(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Quality against processor time, one panel for each paradigm."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "fourfold", "font.size": 9}
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator

    figure, axes = plt.subplots(2, 3, figsize=(8.4, 5.2), layout="constrained")
    colours = dict(zip(SIZES, ("#9ecae1", "#4292c6", "#08519c", "#a63603"), strict=True))
    for axis, (paradigm, measure) in zip(axes.flat, MEASURES.items(), strict=True):
        for r in sorted(first_parts(records, paradigm), key=lambda r: SIZES.index(r["size"])):
            time_of = {entry["step"]: entry["cpu"] for entry in r["curve"]}
            curve = points(r["curve"], measure)
            axis.plot([time_of[s] for s, _ in curve], [v for _, v in curve], "o-", ms=3, c=colours[r["size"]])
        axis.set(xscale="log", yscale="log", title=paradigm)
        axis.xaxis.set_major_locator(FixedLocator([3, 10, 30, 100]))
        axis.yaxis.set_major_locator(FixedLocator(TICKS[measure]))
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter("{x:g}")
            side.set_minor_locator(NullLocator())
    for axis, measure in zip(axes[:, 0], ("Frechet distance, 200 samples", "held-out loss"), strict=True):
        axis.set_ylabel(measure)
    for axis in axes[1]:
        axis.set_xlabel("seconds of one core")
    lines = [plt.Line2D([], [], color=colours[size], marker="o", markersize=3) for size in SIZES]
    axes[0, 2].legend(lines, SIZES, title="size", frameon=False)
    figure.savefig(path, metadata={"Date": None})


PAGE = """# How large a model should be

Written by `benchmarks/scaling.py page` from `benchmarks/results/scaling.jsonl`; do not edit by hand.

A wide network is better than a narrow one after equally many steps, and takes fewer of them in equal time. So each
budget has its best size, and a slower machine needs a narrower one. `--size auto`, the default, finds it: it times
a few steps at the start and takes the widest size that can do the steps it needs.

![Quality against time](pictures/scaling.svg)

*Each line is one training of Fashion-MNIST at a constant rate on one core with AMX, in bf16, beside other work;
times are of the processor. One seed. The Frechet distance of 200 samples is higher than that of 2,000, and its
noise is about a tenth.*

## What follows

| size | needs steps | why |
| --- | ---: | --- |
{needed}

A size needs the steps from which it is better than the next narrower one *in equal time*. These are the needs of
diffusion; `src/fourfold/engine/sizes.json` has them for each recipe and kind of data that was measured, and
`benchmarks/sizes.py rule` writes it. Others need the most that any of these do, so they are narrower. It depends a
little on the machine, since narrow networks are comparatively slow with AMX. An adversarial game gains later: at up to
350 steps all widths are equally good after equally many steps, so `s/2` needs {patient:,}, and `s` {game}, where its
step takes at most 1.6 times as long. Size `s` of a latent-variable model needs {autoencoder:,}: `s/2` is ahead of it
after 120 s on one AMX core (`benchmarks/peers.py`). Its narrower sizes need the steps above where a step takes {usual}
times as long as at the size before, and more with the {power}th power of that ratio. With AVX2 kernels `s/2` takes
2.6 times as long as `s/4` (1.2 with AMX), and 100 s of the processor gave a Frechet distance of 206 with it (2,000
samples, 578 steps) and of 190 with `s/4` (1,048 steps). Where the narrowest size takes fewer than {enough} steps,
batches are halved, at most twice, while
that makes a step a quarter shorter: at a batch of 32 diffusion reaches after 7 s what a batch of 128 reaches after 10,
and beyond 200 steps the two are equal. Size `m` is taken
only for data with more values than it has parameters.

A budget in steps, epochs or operations gets size `s` on every machine, so that it means the same everywhere. A run
records its choice, and a resumed run keeps it. A hybrid has one size, for which the slowest of its stages decides.

Steps from which each size was better than the next narrower one in equal time, by Frechet distance for diffusion,
latent-variable and adversarial models and by held-out loss for the others. "Not yet" means that it was behind as far
as both curves reach. A star marks a guess beyond the curves, which Frechet distances alone have:

| paradigm | machine | `s/4` | `s/2` | `s` |
| --- | --- | ---: | ---: | ---: |
{crossings}

## Time to quality

Fashion-MNIST after a budget, from the curves and from the seconds of a step: the Frechet distance of diffusion,
latent-variable and adversarial models, and the held-out loss of the others (nats for each dimension of autoregressive
models and flows, the error of an energy's denoiser). The best is bold, unless a narrower size is unknown. A star
marks a guess: a Frechet distance at up to four times the steps that were run, along the slope of the last four
points. A question mark stands where nothing can be said. *AVX2* is the same processor with the kernels of older ones
(`ONEDNN_MAX_CPU_ISA=AVX2`); a quarter of a core is that times four.

| paradigm | machine | size | a step | 15 s | 60 s | 120 s | 600 s |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
{rows}

## Text

A transformer of text is different: a narrow one takes nearly as long for a step as a wider one, since its many small
operations take most of the time. So in equal time `s/4` and `s/2` are better from the first {text_steps} steps on, and
an autoregressive model of text needs {text_steps} steps for both. Beyond that the numbers above hold: 55 s of an
otherwise idle machine gave 1.718 nats per character with `s/2` (389 steps) and 1.801 with `s` (204 steps).

Nats per character of held-out text, and seconds of the processor beside much other work:

| size | parameters | {text_head} |
| --- | ---: | {text_line} |
{text_rows}

## What this does not say

- One seed, one data set of images, one text, one processor. Tables have no study of their own.
- A held-out loss says how well the density is learned, not how samples look.
- A rate that falls to 0 over the budget, as trainings have, is better at the end than the constant rate of these
  curves, for every size alike as far as is known.
- The needs of `m`, and of adversarial models beyond 350 steps, are extrapolated.
"""
WHY: Mapping[str, str] = {
    "s/4": "measured: diffusion 30 (AMX) to 130 (AVX2), variational autoencoders 50 to 350",
    "s/2": "measured: diffusion 150 to 200, variational autoencoders 100 to 230",
    "s": "measured: after 447 steps diffusion is far behind 1,137 of `s/2` (120 s with AMX)",
    "m": "extrapolated: four times as many operations, and so four times as many steps",
}


def text_table(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The parts of the table of text: held-out nats by steps, with the seconds that they took."""
    by_size = {r["size"]: r for r in first_parts(records, "autoregressive", "tinyshakespeare")}
    due = (25, 50, 100)
    rows = []
    for size in (s for s in SIZES if s in by_size):
        at = {entry["step"]: f"{entry['held_out']:.2f} ({entry['cpu']:.0f} s)" for entry in by_size[size]["curve"]}
        cells = " | ".join(at.get(step, "") for step in due)
        rows.append(f"| `{size}` | {by_size[size]['parameters']:,} | {cells} |")
    head = " | ".join(f"{step} steps" for step in due)
    line = " | ".join("---:" for _ in due)
    return {
        "text_steps": str(needs_of("autoregressive/likelihood", "Text")["s/2"].steps),
        "text_head": head,
        "text_line": line,
        "text_rows": "\n".join(rows),
    }


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The page of the documentation."""
    needs = {name: needs_of(name, "Images") for name in ("diffusion/denoising", CODES, GAME)}
    needed = "\n".join(f"| `{s}` | {need.steps:,} | {WHY[s]} |" for s, need in needs["diffusion/denoising"].items())
    machines = ("AMX, one core", "AVX2, one core", QUARTER)
    rows = "\n".join(row for paradigm in MEASURES for machine in machines for row in table(records, paradigm, machine))
    return PAGE.format(
        needed=needed,
        rows=rows,
        crossings="\n".join(crossings(records)),
        patient=needs[GAME]["s/2"].steps,
        game=needs[GAME]["s"].steps,
        autoencoder=needs[CODES]["s"].steps,
        usual=needs[CODES]["s/2"].ratio,
        power=POWER,
        enough=ENOUGH,
        **text_table(records),
    )


def main() -> None:
    """Read the command line, and measure what is not known yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "speeds", "page"))
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--paradigms", default=",".join(PARADIGMS))
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--parts", default="1,4")
    parser.add_argument("--share", type=float, default=1.0, help="of the seconds for each size")
    parser.add_argument("--label", default="AMX, one core")
    options = parser.parse_args()
    if options.what == "page":
        plot(earlier_records(), DOCS / "pictures" / "scaling.svg")
        (DOCS / "scaling.md").write_text(page(earlier_records()), encoding="utf-8")
        return
    data = load(options.data, seed=0, limit=options.limit)
    for paradigm, size, part in pairs(options):
        own = {"data": Path(data.name).stem, "paradigm": paradigm, "size": size, "part": part}
        own |= {"kind": "curve"} if options.what == "run" else {"kind": "speed", "machine": options.label}
        if any(own.items() <= record.items() for record in earlier_records()):
            continue
        if options.what == "run":
            record = study(paradigm, size, part, data, options.share * SECONDS[size])
        else:
            record = speed(paradigm, size, part, data, options.label)
        keep(record)
        print(json.dumps(record)[:400], flush=True)


if __name__ == "__main__":
    main()
