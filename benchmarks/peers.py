"""Images: fourfold beside peers, for the same seconds on the same images, by one evaluator.

    python benchmarks/peers.py --peers-env ENVS [--seconds 120] [--seeds 3] [--only diffusion,...] [--resume]
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/peers.py --peers-env ENVS

Protocol: each system trains for the same seconds on the clock, and samples when they are over. fourfold trains as its
default says (``--size auto``), on 55,000 training images, and holds the other 5,000 out; a peer gets all 60,000, in a
process and an environment of its own, ``ENVS/NAME``, which pip makes where it is missing. All have as many threads as
cores are free when a pair begins, by the rule of fourfold's command line, and threads of peers that wait sleep. No
system sees labels. The peers:

* latent-variable: pythae's variational autoencoder of perceptrons by the settings of its documentation, sampled with a
  mixture of 10 Gaussians that is fitted to its codes.
* adversarial: DCGAN, from its paper, at the width that implementations for 32 pixels have.
* diffusion: the U-Net of diffusers narrowed to 16, 32 and 32 channels, in batches of 32, sampled with DPM-Solver++ in
  20 steps.

One evaluator judges 2,000 samples of each against 2,000 test images: the Frechet distance and the coverage in features
of ImageNet, with which no system is trained. The second Frechet distance, in the features of a classifier of the
training images, is there since presets of fourfold were chosen by the first. Training images stand in the first row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import tempfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside import Watch, environment, run_peer
from provenance import commit
from torch import Tensor, nn
from torch.nn import functional

import fourfold
from fourfold.data import Dataset
from fourfold.machine.hardware import machine
from fourfold.machine.threads import free_cores, waiting
from fourfold.metrics.features import EfficientNetLite0, Features, cached
from fourfold.metrics.frechet import gaussian_distance
from fourfold.metrics.neighbours import coverage
from fourfold.metrics.references import References
from fourfold.runs.files import write_json
from fourfold.tasks.evaluation import draw, examples

RESULTS = Path(__file__).parent / "results" / "peers.json"
TORCH = f"torch=={torch.__version__.partition('+')[0]}"
AIM = 0.8
"""The Frechet distance wanted, as a multiple of the peer's."""


@dataclass(frozen=True)
class Peer:
    """A peer of one paradigm.

    Attributes:
        system: its name in the table, and for ``image_peers.py``.
        folder: its environment.
        packages: packages of the environment.
    """

    system: str
    folder: str
    packages: tuple[str, ...]


PEERS = {
    "latent-variable": Peer("pythae", "pythae", ("pythae", TORCH)),
    "adversarial": Peer("DCGAN", "torch", ("numpy", TORCH)),
    "diffusion": Peer("diffusers", "diffusers", ("diffusers", "numpy", TORCH)),
}


# --- the evaluator ----------------------------------------------------------------------------------------------------


class Classified(Features):
    """The last 128 features of a small classifier of the training images."""

    name = "classifier"

    def __init__(self, data: Dataset, epochs: int = 2) -> None:
        labelled = fourfold.load(data.name, given="labels")
        assert labelled.train.cond is not None
        assert labelled.test.cond is not None
        torch.manual_seed(0)
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU()),
        )
        head = nn.Linear(128, 10)
        x, y, batch = labelled.train.x, labelled.train.cond, 128
        optimizer = torch.optim.AdamW([*self.trunk.parameters(), *head.parameters()], 1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                loss = functional.cross_entropy(head(self.trunk(x[rows] / 255)), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = (head(self(labelled.test.x)).argmax(1) == labelled.test.cond).float().mean().item()
        self.protocol = f"128 features of a classifier of the training images, {right:.3f} of the test images right"

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self.trunk(part / 255) for part in x.split(500)])


class Judge:
    """Scores samples of every system alike."""

    def __init__(self, data: Dataset, n: int) -> None:
        self.references, self.imagenet, self.classified = examples(data, n), EfficientNetLite0(), Classified(data)

    def __call__(self, x: Tensor) -> dict[str, float]:
        """Frechet distance, coverage, and the Frechet distance in the features of the classifier."""
        test, name = self.references.test, self.imagenet.name
        a, b = self.imagenet(x), cached(self.imagenet, test)
        scores = {
            "frechet": _distance(a, b),
            "coverage": coverage(a, b, features=name).value,
            "classifier": _distance(self.classified(x), self.classified(test)),
        }
        return {name: round(score, 4) for name, score in scores.items()}

    def floor(self) -> dict[str, float]:
        """The scores of training images."""
        references: References = self.references
        return self(references.train.pool[references.train.rows[0]])


def _distance(a: Tensor, b: Tensor) -> float:
    """The Frechet distance of two sets of features."""
    a, b = a.double(), b.double()
    return gaussian_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())


# --- the systems ------------------------------------------------------------------------------------------------------


def own(paradigm: str, data: Dataset, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """A recipe of fourfold: samples and cost."""
    watch = Watch()
    run = fourfold.fit(paradigm, data, budget=f"{options.seconds:g}s", size=options.size, seed=seed)
    cost = watch.stop()
    drawn = draw(run.model, options.n, seed=seed)
    about = f"{run.card.get('sizing', {}).get('size', options.size)}, {run.card['precision']['name']}"
    return {
        "x": drawn.x,
        **cost,
        "steps": run.card["steps"],
        "drawing": drawn.seconds,
        "note": about,
    }


def peer(paradigm: str, data: Dataset, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The peer of a paradigm: samples and cost."""
    system = PEERS[paradigm]
    python = environment(options.peers_env / system.folder, system.packages)
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        np.save(where / "train.npy", torch.cat([data.train.x, data.validation.x]).numpy())
        arguments = (system.system, where, options.seconds, options.n, seed)
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads()), **waiting()}
        about = run_peer(python, "image_peers.py", arguments, where, threads)
        return about if "seconds" not in about else about | {"x": torch.from_numpy(np.load(where / "made.npy"))}


def contest(options: argparse.Namespace, done: Container[tuple[str, str, str, int]]) -> Iterator[dict[str, Any]]:
    """Every system with every seed, the peer and fourfold in turn, but for runs that are done."""
    data = fourfold.load("fashion-mnist")
    judge = Judge(data, options.n)
    yield {"paradigm": "", "system": "training images", "seed": 0, **judge.floor()}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for paradigm in options.only.split(","):
            torch.set_num_threads(options.threads or free_cores())
            for system, run in ((PEERS[paradigm].system, peer), ("fourfold", own)):
                if (kernels(), paradigm, system, seed) in done:
                    continue
                line = run(paradigm, data, options, seed)
                scores = judge(line.pop("x")) if "x" in line else {}
                threads = torch.get_num_threads()
                yield {"paradigm": paradigm, "system": system, "seed": seed, "threads": threads, **scores, **line}


# --- the results ------------------------------------------------------------------------------------------------------


def kernels() -> str:
    """The kernels that this process is limited to; empty if it is not."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "")


def table(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each system and kind of kernels: means over seeds, and the ratio to the peer."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["kernels"], run["paradigm"], run["system"]), []).append(run)
    return [_row(key, group, groups) for key, group in groups.items()]


def _row(
    key: tuple[str, str, str], group: list[dict[str, Any]], groups: dict[tuple[str, str, str], list[dict[str, Any]]]
) -> dict[str, Any]:
    isa, paradigm, system = key
    distance, ratio = _mean(group, "frechet"), ""
    if system == "fourfold":
        best = _mean(groups.get((isa, paradigm, PEERS[paradigm].system), []), "frechet")
        ratio = f"{distance / best:.2f}" if isinstance(best, float) and isinstance(distance, float) else ""
    draw_time = _mean(group, "drawing")
    return {
        "kernels": isa or "all",
        "paradigm": paradigm,
        "system": system,
        "Frechet distance": distance,
        "of each seed": ", ".join(f"{run['frechet']:.0f}" for run in group if "frechet" in run),
        "of the peer's": ratio,
        "coverage": _mean(group, "coverage"),
        "Frechet distance, classifier": _mean(group, "classifier"),
        "threads": _mean(group, "threads"),
        "steps": _mean(group, "steps"),
        "training, s": _mean(group, "seconds"),
        "2,000 samples, s": draw_time,
        "remark": "; ".join(dict.fromkeys(run["note"] for run in group if run.get("note"))),
    }


def _mean(group: list[dict[str, Any]], name: str) -> float | str:
    """The mean over seeds; empty where nothing was measured."""
    values = [run[name] for run in group if name in run]
    return float(f"{statistics.fmean(values):.4g}") if values else ""


def save(path: Path, options: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    """Write all runs and the table of them; a run that was repeated stands once."""
    about = machine()
    write_json(
        path,
        {
            "title": f"Fashion-MNIST after {options.seconds:g} s: fourfold beside peers",
            "order": 0,
            "machine": f"{about['cpu']}, {os.cpu_count()} cores, no GPU",
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "seeds": len({run["seed"] for run in runs}),
            "command": "python benchmarks/peers.py --peers-env ENVS",
            "rows": table(runs),
            "runs": runs,
            "notes": [
                "Each row is a mean over seeds. Kernels: AVX2 is the same processor held to the kernels of older ones "
                f"(`ONEDNN_MAX_CPU_ISA=AVX2`). The aim is {AIM} of the peer's Frechet distance at most.",
                "`benchmarks/peers.py` describes the peers. The distance in features of a classifier is there since "
                "presets of fourfold were chosen by the distance in features of ImageNet.",
                *options.note,
            ],
        },
    )


def main() -> None:
    """Read the command line, measure, and keep every run as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-env", type=Path, required=True, help="folder of the peers' environments")
    parser.add_argument("--only", default=",".join(PEERS))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--size", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="by default as many as cores are free")
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="leave out the runs that the results already have")
    parser.add_argument("--note", action="append", default=[])
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"--only: no peer of {', '.join(sorted(unknown))}: choose among {', '.join(PEERS)}")
    runs_before = json.loads(options.out.read_text(encoding="utf-8"))["runs"] if options.out.exists() else []
    runs = {(run["kernels"], run["paradigm"], run["system"], run["seed"]): run for run in runs_before}
    for line in contest(options, frozenset(runs) if options.resume else frozenset()):
        run = {"kernels": kernels(), **{k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}}
        print(", ".join(f"{key} {value}" for key, value in run.items() if value != ""), flush=True)
        runs[run["kernels"], run["paradigm"], run["system"], run["seed"]] = run
        save(options.out, options, list(runs.values()))


if __name__ == "__main__":
    main()
