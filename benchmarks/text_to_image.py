"""Emoji given their names: Frechet distance and whether images are of what the caption says, by weight of guidance.

    python benchmarks/text_to_image.py train --data-dir FOLDER [--paradigm diffusion] [--seconds 600] --out runs/emoji
    python benchmarks/text_to_image.py measure runs/emoji [--n 696] [--weights 1 2 4]
    python benchmarks/text_to_image.py show runs/emoji --out prompts.png
    python benchmarks/text_to_image.py tell runs/emoji    (of latent-autoregressive/multimodal, in both directions)

Agreement needs no model of text and images: it is the share of pairs in which the image drawn for a caption is nearer,
in features, to the caption's true image than to that of another caption of the same split. Blind samples score 0.5.
Both vendors draw each emoji and most people come in several tones, so the other image is one of another group of
captions: nothing that shares the first words. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import sys
import time
from pathlib import Path

import torch
from provenance import commit
from torch import Tensor

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data import Split
from fourfold.engine import Run, inference
from fourfold.machine.hardware import machine
from fourfold.metrics.features import cached, image_features
from fourfold.metrics.frechet import frechet_distance
from fourfold.runs.files import write_json
from fourfold.spaces import Lines
from fourfold.spaces.images import prompted
from fourfold.tasks.drawing import adjusted
from fourfold_captions.captioning import caption, caption_nats

sys.path.append(str(Path(__file__).parent.parent / "examples"))
from emoji import load_emoji

RESULTS = Path(__file__).parent / "results" / "both-ways.json"
PROMPTS = ["red heart", "smiling cat", "flag of Japan", "green apple", "blue car", "a man with a beard, dark skin tone"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("train", "measure", "show", "tell"))
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--paradigm", default="diffusion")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--n", type=int, default=696)
    parser.add_argument("--weights", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    options = parser.parse_args()
    {"train": train, "measure": measure, "show": show, "tell": tell}[options.work](options)


def tell(options: argparse.Namespace) -> None:
    """Both directions of one model: captions told from pictures, and pictures drawn for captions; kept as results."""
    run = Run.load(options.run)
    data = load_emoji(options.data_dir, given="captions")
    features = image_features("efficientnet-lite0")
    parts = {"test": _some(data.test, options.n), "training": _some(data.train, options.n)}
    features_by_part = {name: cached(features, part.x) for name, part in parts.items()}
    floor = frechet_distance(features_by_part["training"], features_by_part["test"], features=features.name)
    rows = []
    for name, part in parts.items():
        sentence = _told(run, part)
        drawn = features(_draw(run.model, part.cond, 1.0, options))
        distance = frechet_distance(drawn, features_by_part[name], features=features.name)
        row = {
            "pictures and captions": name,
            "right caption among ten (chance 0.100)": sentence[0],
            "nats that a caption gains": sentence[1],
            "agreement of drawn pictures (blind 0.5)": _agreement(drawn, features_by_part[name], part.cond),
            "agreement of the other vendor's": _vendors(features_by_part[name], part.cond),
            "Frechet distance": f"{distance.value:.0f} (floor {floor.value:.0f})",
        }
        print(", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
        rows.append(row)
    captions = Lines.of_bytes(1).strings(parts["test"].cond[:12])
    for answer, name in zip(caption(run.model, parts["test"].x[:12]), captions, strict=True):
        print(f"  {name!r:>60}: {answer.text!r} ({answer.nats:.1f} nats)")
    card = run.card
    notes = [
        f"{card['paradigm']}, size {card['size']}, {card['budget']}, {card['steps']} steps, first the tokenizer's.",
        "A caption competes with nine of other emoji by log p(caption | picture) less the same given another picture, "
        "and gains that difference. A drawn picture agrees if it is nearer, in features, to its caption's own picture "
        "than to another's. Emoji of the test set are in no training picture, in no tone. Intervals are of 95 %; "
        "variants of an emoji count once.",
    ]
    where = f"one core of {os.cpu_count()}, {machine()['cpu']}, no GPU"
    table = {"title": "Emoji both ways: pictures of captions, captions of pictures", "order": 10, "machine": where}
    ran = {
        "date": f"{datetime.date.today()}",
        "commit": commit(),
        "seeds": 1,
        "command": "python benchmarks/text_to_image.py tell RUN",
    }
    write_json(RESULTS, table | ran | {"rows": rows, "notes": notes})


def _told(run: Run, part: Split) -> tuple[str, str]:
    """How often the right caption wins among ten, and the nats that a caption gains by its own picture."""

    assert part.cond is not None
    x, names, groups = part.x, Lines.of_bytes(1).strings(part.cond), _groups(part.cond)
    generator = torch.Generator().manual_seed(0)
    hits, gains = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64)
    for i, name in enumerate(names):
        foreign = [j for j in torch.randperm(len(x), generator=generator).tolist() if groups[j] != groups[i]]
        nats = caption_nats(run.model, x[[i, foreign[-1]]], [name, *(names[j] for j in foreign[:9])])
        difference = nats[0] - nats[1]
        gains[i], hits[i] = difference[0], float(difference.argmax() == 0)
    return _interval(hits, groups), _interval(gains, groups)


def train(options: argparse.Namespace) -> None:
    """One run within its budget."""
    from fourfold.engine.progress import Bar

    with Bar(options.paradigm) as bar:
        run = fourfold.fit(
            options.paradigm,
            load_emoji(options.data_dir, given="captions"),
            budget=f"{options.seconds}s",
            size=options.size,
            seed=options.seed,
            out=options.out,
            observe=bar,
            say=bar.say,
        )
    print(
        f"{options.paradigm}: {run.card['steps']} steps in {run.card['seconds']:.0f} s, "
        f"{run.card['parameters']:,} parameters"
    )


def measure(options: argparse.Namespace) -> None:
    """Distance and agreement for each weight, on test captions, and agreement on training captions."""
    run = Run.load(options.run)
    data = load_emoji(options.data_dir, given="captions")
    features = image_features("efficientnet-lite0")
    test, seen = _some(data.test, options.n), _some(data.train, options.n)
    features_by_part = {name: cached(features, part.x) for name, part in (("test", test), ("train", seen))}
    floor = frechet_distance(features_by_part["train"], features_by_part["test"], features=features.name)
    print(f"floor: {floor.value:.1f}, {len(seen)} training against {len(test)} test images", flush=True)
    for name, part in (("test", test), ("train", seen)):
        print(
            f"agreement of true images of the other vendor, {name}: {_vendors(features_by_part[name], part.cond)}",
            flush=True,
        )
    for weight in options.weights:
        for name, part in (("test", test), ("train", seen)):
            start = time.perf_counter()
            drawn = features(_draw(run.model, part.cond, weight, options))
            took = time.perf_counter() - start
            line = f"w {weight:g}, {name} captions: agreement {_agreement(drawn, features_by_part[name], part.cond)}"
            if name == "test":
                line += f", {frechet_distance(drawn, features_by_part['test'], features=features.name)}"
            print(f"{line}  [{took:.0f} s]", flush=True)


def show(options: argparse.Namespace) -> None:
    """Eight images of each prompt for each weight."""
    run = Run.load(options.run)
    for weight in options.weights:
        conds = [prompt for prompt in options.prompts for _ in range(8)]
        guided = _guided(run.model, weight, options)
        with inference(guided, "bf16"):
            x = guided.sample(len(conds), conds, options.seed)
        path = options.out.with_stem(f"{options.out.stem}-{weight:g}")
        prompted(x, run.model.space, options.prompts, columns=8).save(path)
        print(path)


def _some(split: Split, n: int) -> Split:
    """A fixed choice of at most ``n`` examples."""
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:n]
    return Split(split.x[rows], split.cond[rows])


def _draw(model: GenerativeModel, cond: Tensor, weight: float, options: argparse.Namespace) -> Tensor:
    guided = _guided(model, weight, options)
    with inference(guided, "bf16"):
        return guided.sample(len(cond), cond, options.seed)


def _guided(model: GenerativeModel, weight: float, options: argparse.Namespace) -> GenerativeModel:
    """The model with a weight of guidance; with 1 as it is, since not every model can be guided."""
    return adjusted(model, steps=options.steps, guidance=None if weight == 1 else weight)


def _groups(cond: Tensor) -> Tensor:
    """A number for each first part of a caption, without sex: what other images may not share."""
    heads = [c.split(",")[0] for c in Lines.of_bytes(1).strings(cond)]
    heads = [
        " ".join(w for w in head.split() if w not in ("man", "woman", "person", "men", "women", "people"))
        for head in heads
    ]
    order = {head: i for i, head in enumerate(dict.fromkeys(heads))}
    return torch.tensor([order[head] for head in heads])


def _agreement(drawn: Tensor, true: Tensor, cond: Tensor) -> str:
    """The share of other images that are farther than the true one, averaged over captions, with its 95 % interval."""
    groups = _groups(cond)
    distance = torch.cdist(drawn.double(), true.double())
    other = groups[:, None] != groups[None]
    nearer = ((distance > distance.diagonal()[:, None]) & other).sum(1) / other.sum(1)
    return _interval(nearer.double(), groups)


def _interval(values: Tensor, groups: Tensor) -> str:
    """The mean over groups of captions, so that many tones of one emoji count once, and its 95 % interval."""
    means = torch.stack([values[groups == group].mean() for group in groups.unique()])
    return f"{means.mean():.3f} ± {1.96 * means.std() / math.sqrt(len(means)):.3f} ({len(means)} groups)"


def _vendors(features_of_part: Tensor, cond: Tensor) -> str:
    """The agreement of the other vendor's drawing of the same caption, which a good model can be expected to reach."""
    captions = Lines.of_bytes(1).strings(cond)
    place = {caption: [i for i, c in enumerate(captions) if c == caption] for caption in set(captions)}
    rows = [i for i, c in enumerate(captions) if len(place[c]) == 2]
    if not rows:
        return "none"
    partner = torch.tensor([next(j for j in place[captions[i]] if j != i) for i in rows])
    swapped = features_of_part.clone()
    swapped[rows] = features_of_part[partner]
    groups, distance = _groups(cond), torch.cdist(swapped.double(), features_of_part.double())
    # the partner itself lies at distance 0 and is of the same group, so it is never among the others
    other = groups[:, None] != groups[None]
    nearer = ((distance > distance.diagonal()[:, None]) & other).sum(1) / other.sum(1)
    return _interval(nearer[rows].double(), groups[rows])


if __name__ == "__main__":
    main()
