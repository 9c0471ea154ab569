"""A data set in one file, so that every paradigm, each in its own process, trains on exactly the same examples."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from fourfold.core import configuration, construct
from fourfold.data import Dataset, Split

__all__ = ["load_snapshot", "save_snapshot"]

_PARTS = ("train", "validation", "test")


def save_snapshot(dataset: Dataset, path: Path) -> None:
    """Write splits, space and record. An existing file is kept, since its name is its digest."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{part}.x": getattr(dataset, part).x.contiguous().clone() for part in _PARTS}
    labels = {f"{part}.cond": getattr(dataset, part).cond for part in _PARTS}
    tensors |= {key: value.contiguous().clone() for key, value in labels.items() if value is not None}
    about = {
        "space": configuration(dataset.space),
        "name": dataset.name,
        "digest": dataset.digest,
        "source": dataset.source,
        "skipped": list(dataset.skipped),
        "class_names": list(dataset.class_names),
        "seed": dataset.seed,
        "notes": list(dataset.notes),
    }
    part = path.with_suffix(f".{os.getpid()}")
    save_file(tensors, part, {"about": json.dumps(about)})
    part.replace(path)


def load_snapshot(path: Path) -> Dataset:
    """Read what :func:`save_snapshot` wrote. The exact density of a sampled set is not in the file."""
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    train, validation, test = (Split(tensors[f"{part}.x"], tensors.get(f"{part}.cond")) for part in _PARTS)
    return Dataset(
        name=about["name"],
        space=construct(about["space"]),
        train=train,
        validation=validation,
        test=test,
        digest=about["digest"],
        source=about["source"],
        skipped=tuple(about["skipped"]),
        class_names=tuple(about["class_names"]),
        seed=about["seed"],
        notes=tuple(about.get("notes", ())),
    )
