"""Clips of moving digits, asked for by class: how well models draw them, and whether a reader knows the digits.

    python benchmarks/clips.py draw [--recipes diffusion autoregressive] [--budget 600s] [--size s/2] [--channels]
    python benchmarks/clips.py judge RUN [--n 100]

Each recipe is trained on ``moving-digits`` given the classes; ``--channels`` takes its network of images instead, for
which frames are channels. The reader is a logistic regression on single frames of real training clips, cut out around
their centre of mass; it reads a clip by the product of what it reads in its frames. A clip is misread if the answer is
another digit than the one that was asked for; intervals are Wilson's of 95 %. Its errors on held-out real clips are the
floor. The measures are those of the product. Rows go into ``results/clips.json``, and a sheet of clips into the folder
of each run. Run it alone on the machine, which takes one core.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from provenance import commit
from torch import Tensor

import fourfold
from fourfold.core import GenerativeModel
from fourfold.engine import Run
from fourfold.machine.hardware import machine
from fourfold.nn.causal import CausalConvNet
from fourfold.spaces import Images
from fourfold.spaces.images import grid
from fourfold.tasks import evaluation
from fourfold.vocabulary import Kind
from fourfold_video.networks import VideoUNet
from fourfold_video.space import Video

RESULTS = Path(__file__).parent / "results" / "clips.json"
WINDOW = 20
"""Side of the window around a digit's centre of mass."""
SHOWN = (0, 3, 6, 9, 12, 15)
"""Frames of a clip on a sheet."""
SCORED = 8
"""Test clips whose likelihood is estimated."""
MEASURES = ("frechet_distance[clips]", "frechet_distance[frames]", "detail_ratio[pixels]", "motion_ratio[pixels]")


class Reader:
    """Logistic regression on frames of clips, learned from clips ``(B, T, H, W)`` of pixel values and their classes."""

    def __init__(self, x: Tensor, classes: Tensor) -> None:
        from sklearn.linear_model import LogisticRegression

        some = x[:, ::4]
        self.model = LogisticRegression(max_iter=200)
        self.model.fit(windows(some.flatten(0, 1)).numpy(), classes.repeat_interleave(some.shape[1]).numpy())

    def frames(self, x: Tensor) -> Tensor:
        """Log-probabilities of each class for every frame, ``(B, T, classes)``."""
        log_p = self.model.predict_log_proba(windows(x.flatten(0, 1)).numpy())
        return torch.from_numpy(log_p).unflatten(0, x.shape[:2])


def windows(frames: Tensor) -> Tensor:
    """Windows around the centres of mass of frames ``(N, H, W)``, averaged to half their size, ``(N, 100)``."""
    n, height, width = frames.shape
    mass = frames.float().clamp(min=1e-6)
    total = mass.sum((1, 2))
    rows = (mass.sum(2) @ torch.arange(height).float() / total).round().long()
    columns = (mass.sum(1) @ torch.arange(width).float() / total).round().long()
    padded, reach = F.pad(frames.float(), [WINDOW // 2] * 4), torch.arange(WINDOW)
    cut = padded[
        torch.arange(n)[:, None, None], (rows[:, None] + reach)[:, :, None], (columns[:, None] + reach)[:, None]
    ]
    return F.avg_pool2d(cut[:, None], 2).flatten(1) / 16


def share(wrong: Tensor) -> str:
    """The share of what is wrong, with Wilson's interval."""
    n, z = wrong.numel(), 1.96
    p = float(wrong.double().mean())
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{100 * p:.1f} % [{100 * max(centre - half, 0):.1f}, {100 * min(centre + half, 1):.1f}] of {n}"


def readings(reader: Reader, x: Tensor, asked: Tensor | None) -> dict[str, str]:
    """Shares of clips and frames that are misread, and of frames in which another digit is read than in the clip."""
    log_p = reader.frames(x)
    frames, clips = log_p.argmax(2), log_p.sum(1).argmax(1)
    return {
        "clips misread": "" if asked is None else share(clips != asked),
        "frames misread": "" if asked is None else f"{100 * float((frames != asked[:, None]).double().mean()):.1f} %",
        "frames unlike their clip": f"{100 * float((frames != clips[:, None]).double().mean()):.1f} %",
    }


def draw(options: argparse.Namespace) -> None:
    """Train each recipe on clips given their classes, and judge it."""
    for recipe in options.recipes:
        kind = "channels" if options.channels else "frames"
        folder = Path("runs") / f"clips-{recipe}-{kind}-{options.budget.replace(' ', '-')}"
        data = fourfold.load("moving-digits", given="labels")
        model = as_channels(recipe, data.space, options.size) if options.channels else recipe
        size = None if options.channels else options.size
        run = fourfold.fit(model, data, budget=options.budget, size=size, out=folder, precision="bf16", say=print)
        record(judged(run, options.n), options.out)


def as_channels(recipe: str, space: Video, size: str) -> GenerativeModel:
    """The model of images whose channels are the frames of clips."""
    images = Images(space.channels, space.height, space.width, space.n_values, given=space.given)
    return GenerativeModel(**fourfold.build(recipe, images, size=size).arguments() | {"space": space})


def judge(options: argparse.Namespace) -> None:
    record(judged(Run.load(options.run), options.n), options.out)


def judged(run: Run, n: int) -> list[dict[str, Any]]:
    """The rows of real clips and of as many that a run draws for the same classes."""
    data = fourfold.load("moving-digits", given="labels")
    references = evaluation.examples(data, n)
    assert isinstance(data.space, Video)
    assert references.cond is not None
    assert data.train.cond is not None
    reader = Reader(data.train.x, data.train.cond)
    asked = references.cond if run.model.space.conditional else None
    drawn = evaluation.draw(run.model, n, seed=1, cond=asked)
    show(drawn.x, references.cond, data.space, run.folder / "clips.png")
    scores = {score.name: score for score in evaluation.quality(drawn.x, data, references)}
    own = data if asked is not None else fourfold.load("moving-digits")
    nats = evaluation.likelihood(run.model, own, n=SCORED)
    row = {
        "model": named(run.model),
        "budget": run.card["budget"],
        "steps": run.card["steps"],
        **readings(reader, drawn.x, asked),
        **{name: f"{scores[name].value:.3g}" for name in MEASURES},
        "bits/dim": f"{'' if nats.kind is Kind.EXACT else '<= '}{nats.value:.3f}",
        "s per clip": f"{drawn.seconds / n:.2g}",
    }
    floors = {name: "" if scores[name].floor is None else f"{scores[name].floor:.3g}" for name in MEASURES}
    real = dict.fromkeys(row, "") | {"model": "real clips of the test split"} | floors
    rows = [real | readings(reader, references.test, references.cond), row]
    print(json.dumps(rows, indent=1), flush=True)
    return rows


def named(model: GenerativeModel) -> str:
    """The paradigm, what frames and classes are to it, and whether it copies from frame to frame."""
    net = model.estimand.net
    timed = isinstance(net, VideoUNet) or getattr(model.estimand, "past", 0) > 0
    copies = ", with copies" if isinstance(net, CausalConvNet) and net.displacement is not None else ""
    classes = "" if model.space.conditional else ", no classes"
    return f"{model.paradigm.value}, {'frames in time' if timed else 'frames as channels'}{copies}{classes}"


def show(x: Tensor, classes: Tensor, space: Video, path: Path) -> None:
    """A sheet: two clips of each class, side by side, six frames of each."""
    rows = torch.cat([(classes == c).nonzero().flatten()[:2] for c in range(10)])
    sheet = grid(space.stills(x[rows])[:, SHOWN].flatten(0, 1), space.still(), 2 * len(SHOWN), 2)
    sheet.resize((2 * sheet.width, 2 * sheet.height), 0).save(path)


def record(rows: list[dict[str, Any]], out: Path) -> None:
    """Put rows into the results, in the place of those of the same model and budget."""
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.is_file() else []
    new = {(row["model"], row["budget"]) for row in rows}
    result = {
        "title": "Clips of moving digits given their classes",
        "order": 9,
        "machine": f"one core of {os.cpu_count()}, {machine()['cpu']}, load {os.getloadavg()[0]:.0f}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": "python benchmarks/clips.py draw --recipes RECIPE --budget BUDGET",
        "rows": [*rows[:1], *(row for row in old if (row["model"], row["budget"]) not in new), *rows[1:]],
        "notes": [
            'A clip is "misread" if a logistic regression that learned from frames of real clips reads another digit '
            "in it than the one asked for, with Wilson's interval; a frame is unlike its clip if another digit "
            "is read in it than in the whole. The first row tells the same of real clips, and the "
            "floors of the measures. Bits per dimension are those of "
            f"{SCORED} test clips; <= marks an estimated bound.",
        ],
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("draw", "judge"))
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--recipes", nargs="+", default=["diffusion", "autoregressive"])
    parser.add_argument("--budget", default="600s")
    parser.add_argument("--size", default="s/2")
    parser.add_argument("--channels", action="store_true", help="take the network for which frames are channels")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    {"draw": draw, "judge": judge}[options.work](options)


if __name__ == "__main__":
    main()
