"""Train the zoo, the small trained runs that come with the page: ``python tools/make_zoo.py (--all | NAME ...)``.

Two-moons, digits, the cultivars of wine and the species of iris are in scikit-learn or in fourfold itself. ``names``
are the first names of the census of the United States of 1990 (public domain), one a line, as the package ``names``
holds them: ``--names FILE``. ``chorales`` are Bach's, as in ``JSB_Chorales.mat`` (Boulanger-Lewandowski, Bengio,
Vincent 2012, https://arxiv.org/abs/1206.6392): ``--chorales FILE``. A frame is a line with one character for each of
its keys, ``!`` for the lowest of 88.

A run is trained for steps, not seconds, so that a busy machine gives the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

import fourfold
from fourfold.core import GenerativeModel, Sampler
from fourfold.data import Dataset
from fourfold.samplers.langevin import MALA, Annealed, Langevin, NoiseAnnealed
from fourfold.spaces import Vectors
from fourfold_web.paradigms import model_of_points
from fourfold_web.recorded import write_traces
from fourfold_web.zoo import FOLDER


class Entry(NamedTuple):
    """One run of the zoo."""

    recipe: str
    steps: int
    size: str = "xs"
    sampler: Sampler | None = None
    """Another sampler than that of the size."""
    given: str | None = None
    """The condition that the data hold, such as labels. With one, the page offers guidance."""


ENTRIES = {
    "two-moons/autoregressive": Entry("autoregressive", 2500),
    "two-moons/latent-variable": Entry("latent-variable", 3000),
    "two-moons/adversarial": Entry("adversarial", 5000, "xs/2"),
    "two-moons/diffusion": Entry("diffusion", 4000, "xs/2", given="labels"),
    "two-moons/flow": Entry("flow/coupling", 3000),
    "two-moons/energy": Entry("energy", 3000, sampler=Annealed(MALA(40, 0.05), 24, moves=2, jumps=1)),
    "two-moons/latent-diffusion": Entry("latent-diffusion", 5000, "xs/2"),
    "digits/autoregressive": Entry("autoregressive", 2500),
    "digits/latent-variable": Entry("latent-variable", 1500, "xs/4"),
    "digits/adversarial": Entry("adversarial", 2500, "xs/4"),
    "digits/diffusion": Entry("diffusion", 1500, "s/4", given="labels"),
    "digits/flow": Entry("flow", 2500),
    "digits/energy": Entry("energy", 800, sampler=NoiseAnnealed(Langevin(1, 0.1), levels=40, moves=1, clean=True)),
    "digits/latent-diffusion": Entry("latent-diffusion", 1500),
    "iris/autoregressive": Entry("autoregressive", 400),
    "names/autoregressive": Entry("autoregressive/likelihood", 600, "xs/2"),
    "chorales/autoregressive": Entry("autoregressive/likelihood", 600, "xs/2"),
}
LENGTH = {"names": 64, "chorales": 128}
"""Characters of a window."""
SOURCES = {
    "names": "first names of the census of the United States of 1990",
    "chorales": "chorales of J. S. Bach: a line for each frame, a character for each key",
    "iris": "scikit-learn, load_iris",
}


def iris(folder: Path) -> Path:
    """Fisher's measurements of 150 irises, with their species."""
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    frame = bunch.frame.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    frame["species"] = bunch.target_names[frame.pop("target")]
    frame.to_csv(folder / "iris.csv", index=False)
    return folder / "iris.csv"


def chorales(source: Path, folder: Path) -> Path:
    """The frames of the pieces as lines, with an empty line between two pieces."""
    from scipy.io import loadmat

    pieces = [piece for part in ("traindata", "validdata", "testdata") for piece in loadmat(source)[part][0]]
    lines = ["\n".join("".join(chr(33 + key) for key in frame.nonzero()[0]) for frame in piece) for piece in pieces]
    (folder / "chorales.txt").write_text("\n\n".join(lines) + "\n")
    return folder / "chorales.txt"


def data_of(name: str, given: str | None, arguments: argparse.Namespace, folder: Path) -> Dataset:
    """The data of a family of runs, and the condition."""
    files = {
        "names": lambda: arguments.names,
        "chorales": lambda: chorales(arguments.chorales, folder),
        "iris": lambda: iris(folder),
    }
    if name not in files:
        return fourfold.load(name, given=given)
    options = {"length": LENGTH[name]} if name in LENGTH else {}
    return replace(fourfold.load(str(files[name]()), **options), name=name, source=SOURCES[name], options=options)


def seeded(space: Vectors, size: str) -> GenerativeModel:
    """The latent diffusion of points with the same weights at every start."""
    torch.manual_seed(0)
    return model_of_points("latent-diffusion", space, size)


def train(name: str, entry: Entry, arguments: argparse.Namespace) -> None:
    """Train one run and put it in its folder, without the state of its training."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        dataset = data_of(name.split("/", maxsplit=1)[0], entry.given, arguments, Path(place))
        points = entry.recipe == "latent-diffusion" and dataset.space.shape == (2,)
        run = fourfold.fit(
            seeded(dataset.space, entry.size) if points else entry.recipe,
            dataset,
            budget=f"{entry.steps} steps",
            size=None if points else entry.size,
            precision="float32",
            progress=False,
            choose=name.split("/", maxsplit=1)[0] != "two-moons",  # of drawn points there are more than training takes
        )
        if entry.sampler is not None:
            model = run.model.with_parts(sampler=entry.sampler)
            run = replace(run, model=model, card=run.card | {"facts": model.facts.record(model.paradigm)})
        run.card["command"] = f"python tools/make_zoo.py {name}"
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    run.save(FOLDER / name)
    size = sum(file.stat().st_size for file in (FOLDER / name).rglob("*")) // 1000
    print(f"{name}: {size} kB, {time.process_time() - start:.0f} s of a processor", flush=True)


def main() -> None:
    """Train the runs that are named, or all, and write the traces of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="NAME", help="runs to train again; without any, only the traces")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--chorales", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in ENTRIES if arguments.all else arguments.runs:
        train(name, ENTRIES[name], arguments)
    write_traces()
    weights = {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*.safetensors"))}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in weights.items()}
    (FOLDER / "digests.json").write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
