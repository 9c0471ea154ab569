"""Pictures given pictures: a generative model beside a regression by the same network, trained for as many steps.

    python benchmarks/pictures.py [--only finer,holes,colour] [--recipes regression,diffusion/velocity] [--steps 900]
        [--sampler SDEDPMSolver --sampler-steps 20] [--keep RUNS] [--picture docs/pictures/pictures-from-pictures.png]
        [--out benchmarks/results/pictures.json]

``finer``: Fashion-MNIST, 28 x 28 pixels given 7 x 7. ``holes``: the same, given all pixels but a square of 14 x 14 at a
random place. ``colour``: emoji of 32 x 32 pixels in colour given them in grey (``examples/emoji.py`` fetches them).

The regression is the U-Net of ``diffusion`` at the same size, with zeros in the place of the noised picture. It is
trained by squared error with the same optimizer and keeps its best weights by validation. Its other row adds normal
noise, with the deviation of each pixel's residuals on validation pictures. Pixels that are given are put back into
every system's pictures of ``holes``.

Scores: the energy score of 19 draws for each of 64 test conditions (Euclidean distance of pixels in [0, 1]); the
Frechet distance of one draw for each of 600 test conditions to the true pictures, by
efficientnet-lite0, beside that of training pictures; PSNR and SSIM of single draws and of the mean of the 19. Three
quarters of the pixels of ``holes`` are given, so the Frechet distance of its squares alone stands beside.

All systems see the same conditions, so rows of differences are paired: condition by condition for the energy score, and
for the Frechet distance by the influence of each condition's two draws and true picture.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import PIL.Image
import torch
import torch.nn.functional as F
from provenance import commit
from torch import Tensor

import fourfold
from fourfold.codecs import Centred
from fourfold.core import Batch, Estimand, GenerativeModel, SingleLoss
from fourfold.data import Dataset, Split
from fourfold.data.dataset import digest
from fourfold.estimands import Pushforward
from fourfold.likelihoods import NoDensity
from fourfold.machine.hardware import machine
from fourfold.metrics.conditional import energy
from fourfold.metrics.features import Features, cached, image_features
from fourfold.metrics.frechet import frechet_difference, gaussian_distance
from fourfold.metrics.images import detail_ratio
from fourfold.metrics.score import Measurement, mean_interval
from fourfold.nn.unet import UNet
from fourfold.paradigms.adversarial import OnePass
from fourfold.recipes.diffusion import UNET
from fourfold.recipes.networks import unet
from fourfold.runs.files import write_json
from fourfold.spaces import Images
from fourfold.spaces.images import montage
from fourfold.vocabulary import Principle

sys.path.append(str(Path(__file__).parents[1] / "examples"))

CONDITIONS, DRAWS, SAMPLES = 64, 19, 600
HOLE = 14
NOTES = [
    "The regression is the U-Net of `diffusion` at the same size, trained by squared error for as many steps. With "
    "noise: normal noise is added, with the deviation of each pixel's residuals on validation pictures.",
    "Energy score: 19 draws for each of 64 test conditions, Euclidean distance of pixels in [0, 1], ± 95 % over "
    "conditions. Frechet distance: one draw for each of 600 test conditions, against the true pictures. "
    "PSNR in dB and SSIM: of single draws / of the mean of 19 draws. Detail: energy of fine detail over that of the "
    "true pictures, 1 is right. Network evaluations of one draw; processor seconds of the training.",
    "Frechet distance of the hole: of the squares of 14 x 14 pixels alone, cut out of the pictures at their places and "
    "enlarged as the whole pictures are. Both stand here: the first shows whether a square fits its surroundings.",
    "Rows of differences: the first system less the second for the same conditions, with 95 % of paired differences; "
    "below 0 the first is better.",
]
Draw = Callable[[Tensor], Tensor]
"""Conditions to one picture for each."""


# --- data -------------------------------------------------------------------------------------------------------------


def finer(options: argparse.Namespace) -> Dataset:
    """28 x 28 pixels given the means of squares of 4 x 4."""
    return with_conditions(
        fourfold.load("fashion-mnist", seed=options.seed), "finer", Images(1, 7, 7), lambda x: area(x, 7)
    )


def holes(options: argparse.Namespace) -> Dataset:
    """Pictures given all pixels but those of a square, which are -1."""
    generator = torch.Generator().manual_seed(options.seed)

    def hidden_square(x: Tensor) -> Tensor:
        corner = torch.randint(x.shape[2] - HOLE + 1, (len(x), 2, 1), generator=generator)
        places = torch.arange(x.shape[2])
        rows, columns = ((places >= corner[:, i]) & (places < corner[:, i] + HOLE) for i in (0, 1))
        return x.to(torch.int16).masked_fill(rows[:, None, :, None] & columns[:, None, None, :], -1)

    return with_conditions(fourfold.load("fashion-mnist", seed=options.seed), "holes", Images(1, 28, 28), hidden_square)


def colour(options: argparse.Namespace) -> Dataset:
    """Emoji of half their size given their luminance."""
    from emoji import load_emoji

    def grey(x: Tensor) -> Tensor:
        return (x.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).round().byte()

    data = load_emoji(seed=options.seed)
    parts = [replace(part, x=area(part.x, 32)) for part in (data.train, data.validation, data.test)]
    small = replace(data, space=Images(3, 32, 32), train=parts[0], validation=parts[1], test=parts[2])
    return with_conditions(small, "colour", Images(1, 32, 32), grey)


TASKS: Mapping[str, Callable[[argparse.Namespace], Dataset]] = {"finer": finer, "holes": holes, "colour": colour}


def area(x: Tensor, side: int) -> Tensor:
    """Pictures of another size by means over areas."""
    return F.interpolate(x.float(), size=(side, side), mode="area").round().byte()


def with_conditions(data: Dataset, name: str, conditions: Images, of: Callable[[Tensor], Tensor]) -> Dataset:
    """The pictures of a set, each with a condition that is made of it."""
    train, validation, test = (
        Split(part.x, of(part.x).to(torch.int16)) for part in (data.train, data.validation, data.test)
    )
    space, name_of_data = data.space.conditioned_on(conditions), digest(train.x, train.cond)
    return Dataset(name, space, train, validation, test, name_of_data, data.source, given=conditions)


class Way(NamedTuple):
    """How models of diffusion draw: a sampler by its name, and its steps. By default those of the recipe."""

    sampler: str | None = None
    steps: int | None = None

    @classmethod
    def of(cls, recipe: str, options: argparse.Namespace) -> Way:
        """The way of the options, for a recipe of diffusion."""
        return cls(options.sampler, options.sampler_steps) if recipe.startswith("diffusion") else cls()

    def words(self) -> str:
        """The sampler, to stand behind the name of a recipe."""
        return f", {self.sampler}({self.steps})" if self.sampler else ""


# --- the regression ---------------------------------------------------------------------------------------------------


@final
class Regression(Pushforward):
    """``f(c)``, by the network of a denoiser. It reads zeros in the place of a noised picture."""

    latent = (1,)

    def __init__(self, net: UNet, event: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.event = net, tuple(event)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        x: Tensor = self.net(z.new_zeros(len(z), *self.event), z.new_zeros(len(z)), cond)
        return x


@final
class SquaredError(SingleLoss):
    """``|x - f(c)|^2``, the mean over pixels."""

    learns: ClassVar[type[Estimand]] = Pushforward
    principle = Principle.LIKELIHOOD
    term, judges = "squared error", True

    def loss(self, estimand: Pushforward, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        return (estimand(batch.x.new_zeros(len(batch.x), 1), batch.cond) - batch.x).square().flatten(1).mean(1), {}


def regression(space: Images, size: str) -> GenerativeModel:
    """The regression by the network of ``diffusion``, with its settings of training."""
    training = fourfold.build("diffusion", space, size=size).training_defaults
    estimand = Regression(unet(space, UNET[size]), space.shape)
    return GenerativeModel(
        space, Centred(space), estimand, SquaredError(), OnePass(), NoDensity("one picture alone"), training
    )


def noised(f: Draw, part: Split) -> Draw:
    """A regression and normal noise with the deviation of each pixel's residuals on held-out pictures."""
    assert part.cond is not None
    deviation = (part.x.float() - f(part.cond).float()).std(0)
    generator = torch.Generator().manual_seed(0)

    def draw(cond: Tensor) -> Tensor:
        mean = f(cond).float()
        return (mean + deviation * torch.randn(mean.shape, generator=generator)).round().clamp(0, 255).byte()

    return draw


# --- scores -----------------------------------------------------------------------------------------------------------


def drawing(run: fourfold.Run, put_back: bool, way: Way, seed: int = 1) -> Draw:
    """Draws of a model, with the pixels that are given."""

    def draw(cond: Tensor) -> Tensor:
        x = run.sample(len(cond), cond, seed=seed, sampler=way.sampler, steps=way.steps)
        return torch.where(cond >= 0, cond, x).byte() if put_back else x

    return draw


@dataclass(frozen=True)
class Evidence:
    """Scores of each condition and features of each draw, by which two systems are compared.

    Attributes:
        energies: the energy score of each condition.
        features: those of one draw for each condition, by the name of the Frechet distance.
    """

    energies: Tensor
    features: Mapping[str, Tensor]

    def less(self, other: Evidence, truths: Mapping[str, Tensor]) -> dict[str, str]:
        """The scores less those of another system, with 95 % of paired differences."""
        value, low, high = mean_interval(self.energies - other.energies)
        differences = {"energy score": f"{value:.3f} ± {(high - low) / 2:.3f}"}
        for name, truth in truths.items():
            value, error = frechet_difference(self.features[name], other.features[name], truth)
            differences[name] = f"{value:.1f} ± {1.96 * error:.1f}"
        return differences


def views(x: Tensor, cond: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The pictures, and where their conditions have a hole its square alone, by the name of the Frechet distance."""
    yield "Frechet distance", x
    hidden = (cond < 0).expand(-1, x.shape[1], -1, -1)
    if hidden.any():
        yield "Frechet distance of the hole", x[hidden].view(*x.shape[:2], HOLE, HOLE)


def truths(data: Dataset, features: Features) -> dict[str, Tensor]:
    """Features of the true pictures."""
    assert data.test.cond is not None
    return {name: cached(features, x) for name, x in views(data.test.x[:SAMPLES], data.test.cond[:SAMPLES])}


def scores(draw: Draw, k: int, data: Dataset, features: Features) -> tuple[dict[str, Any], Evidence]:
    """All scores of a system that draws ``k`` pictures for one condition (a regression has one)."""
    test = data.test
    assert test.cond is not None
    m = min(CONDITIONS, len(test))
    draws = draw(test.cond[:m].repeat_interleave(k, 0)).view(m, k, *data.space.shape)
    draws = draws.expand(m, max(k, 2), *data.space.shape)  # one picture again: two draws that never differ
    measured = {part.name: part for part in data.space.conditional_measures(draws, test.x[:m], data.train.x)}
    x, truth, top = draw(test.cond[:SAMPLES]), test.x[:SAMPLES], data.space.n_values - 1
    by_view = {name: features(part) for name, part in views(x, test.cond[:SAMPLES])}
    row = {
        "energy score": _interval(measured["energy_score[pixels]"]),
        **{name: frechet(by_view[name], part) for name, part in truths(data, features).items()},
        **{name.upper(): _score_pair(measured, name, digits) for name, digits in (("psnr", 2), ("ssim", 3))},
        "detail": f"{detail_ratio(x, truth).value:.2f}",
        "diversity": f"{measured['diversity[pixels]'].value:.2f}",
    }
    return row, Evidence(energy(draws.flatten(2) / top, test.x[:m].flatten(1) / top), by_view)


def _interval(part: Measurement) -> str:
    low, high = (float("nan") if end is None else end for end in (part.low, part.high))
    return f"{part.value:.3f} ± {(high - low) / 2:.3f}"


def _score_pair(measured: Mapping[str, Measurement], name: str, digits: int) -> str:
    return " / ".join(f"{measured[f'{name}[{way}]'].value:.{digits}f}" for way in ("single draws", "mean draw"))


def train_row(data: Dataset, features: Features) -> dict[str, Any]:
    """Training pictures whatever the condition: the floor of the Frechet distance."""
    assert data.test.cond is not None
    x = dict(views(data.train.x[: min(SAMPLES, len(data.test))], data.test.cond[:SAMPLES]))
    return {name: frechet(features(x[name]), truth) for name, truth in truths(data, features).items()}


def frechet(a: Tensor, b: Tensor) -> str:
    """The Frechet distance of features in one decimal."""
    return f"{gaussian_distance(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T)):.1f}"


# --- the contest ------------------------------------------------------------------------------------------------------


def contest(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every system on one task."""
    data, features = TASKS[name](options), image_features("efficientnet-lite0", 256)
    assert isinstance(data.space, Images)
    about: dict[str, Any] = {"task": name}
    yield about | {"system": "training pictures"} | train_row(data, features)
    judged: dict[str, Evidence] = {}
    for recipe in options.recipes.split(","):
        run, cost = trained(name, recipe, data, options)
        way = Way.of(recipe, options)
        draw = drawing(run, name == "holes", way)
        weights = sum(p.numel() for p in run.model.estimand.parameters())
        about |= {"weights": f"{weights:,}"}
        if recipe == "regression":
            systems = {"regression": (draw, 1), "regression, with noise": (noised(draw, data.validation), DRAWS)}
        else:
            systems = {f"fourfold {recipe}{way.words()}": (draw, DRAWS)}
        for system, (drawn, k) in systems.items():
            row, judged[system] = scores(drawn, k, data, features)
            yield about | {"system": system} | row | cost
        for system in judged if recipe != "regression" else ():
            if system.startswith("regression"):
                names = next(iter(systems))
                differences = judged[names].less(judged[system], truths(data, features))
                yield {"task": name, "system": f"{names} less {system}"} | differences


def trained(name: str, recipe: str, data: Dataset, options: argparse.Namespace) -> tuple[fourfold.Run, dict[str, Any]]:
    """A run and its cost. One that was kept is not trained again, and its processor time is not known."""
    start, cost = time.process_time(), dict[str, Any]()
    if options.keep is not None and folder_of(options, name, recipe).exists():
        run = fourfold.Run.load(folder_of(options, name, recipe), trust=[Regression, SquaredError])
    else:
        own = recipe == "regression"
        model = regression(data.space, options.size) if own else recipe
        run = fourfold.fit(
            model,
            data,
            budget=f"{options.steps} steps",
            size=None if own else options.size,
            seed=options.seed,
            precision="float32",
            progress=False,
        )
        cost = {"processor, s": round(time.process_time() - start)}
        if options.keep is not None:
            run.save(folder_of(options, name, recipe))
    return run, {"steps x batch": f"{run.card['steps']} x {run.card['training']['batch_size']}", **cost}


def picture(options: argparse.Namespace) -> None:
    """Ten test conditions of each task, the true pictures, and those of every run that was kept, row by row."""
    parts = []
    for name in options.only.split(","):
        data = TASKS[name](options)
        cond, space = data.test.cond, data.space
        assert cond is not None
        assert isinstance(space, Images)
        cond = cond[:10]
        side = (space.height, space.width)
        rows = [F.interpolate(cond.clamp(min=0).float(), size=side).byte().expand(10, *space.shape), data.test.x[:10]]
        for recipe in options.recipes.split(","):
            run = fourfold.Run.load(folder_of(options, name, recipe), trust=[Regression, SquaredError])
            seeds, way = (1,) if recipe == "regression" else (1, 2), Way.of(recipe, options)
            rows += [drawing(run, name == "holes", way, seed)(cond) for seed in seeds]
        parts.append(montage(torch.cat(rows), space, 10))
    sheet = PIL.Image.new("RGB", (max(part.width for part in parts), sum(part.height + 8 for part in parts)), "white")
    for i, part in enumerate(parts):
        sheet.paste(part, (0, sum(above.height + 8 for above in parts[:i])))
    sheet.save(options.picture)


def folder_of(options: argparse.Namespace, name: str, recipe: str) -> Path:
    """Where the run of a recipe is kept."""
    return Path(options.keep) / name / recipe.replace("/", "-")


def save(path: Path, lines: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Add the lines to the results, in the place of earlier ones of the same system and task."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}
    new = {(line["task"], line["system"]): line for line in lines}
    rows = [new.pop((line["task"], line["system"]), line) for line in results["rows"]] + list(new.values())
    rows.sort(key=lambda line: list(TASKS).index(line["task"]))
    keys = list(dict.fromkeys(key for line in rows for key in line))
    cpu = machine()["cpu"]
    write_json(
        path,
        {
            "title": "Pictures given pictures: beside a regression by the same network",
            "order": 3,
            "machine": f"{cpu}, {os.cpu_count()} cores, no GPU",
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "seeds": 1,
            "command": "python benchmarks/pictures.py",
            "rows": [{key: line.get(key, "") for key in keys} for line in rows],
            "notes": NOTES,
        },
    )


def main() -> None:
    """Read the command line, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TASKS))
    parser.add_argument("--recipes", default="regression,diffusion/velocity")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--size", default="s/4")
    parser.add_argument("--sampler", help="of recipes of diffusion, by default that of the recipe")
    parser.add_argument("--sampler-steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the runs")
    parser.add_argument("--picture", type=Path, help="a PNG of the runs in --keep")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for name in options.only.split(","):
        for line in contest(name, options):
            print(", ".join(f"{key} {value}" for key, value in line.items() if value != ""), flush=True)
            lines.append(line)
            if options.out is not None:
                save(options.out, lines, options)
    if options.picture is not None:
        picture(options)


if __name__ == "__main__":
    main()
