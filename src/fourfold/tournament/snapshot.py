"""A data set in one file, so that every paradigm, each in its own process, trains on exactly the same examples."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from fourfold.core import configuration, construct
from fourfold.data import DataError, Dataset, Split, load

__all__ = ["load_snapshot", "save_snapshot"]

_PARTS = ("train", "validation", "test")


def save_snapshot(dataset: Dataset, path: Path) -> None:
    """Write splits, space and record. An existing file is kept, since its name is its digest.

    Streamed data stays in its files. The snapshot then holds the settings that load it again.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    if dataset.streamed is not None:
        place = os.path.abspath(os.path.expanduser(dataset.name))
        again = {"load": {"data": place, **dataset.streamed.options, "seed": dataset.seed}, "digest": dataset.digest}
        save_file({}, part, {"about": json.dumps(again)})
        part.replace(path)
        return
    tensors = {f"{part}.x": getattr(dataset, part).x.contiguous().clone() for part in _PARTS}
    labels = {f"{part}.cond": getattr(dataset, part).cond for part in _PARTS}
    tensors |= {key: value.contiguous().clone() for key, value in labels.items() if value is not None}
    about = {
        "space": configuration(dataset.space),
        "name": dataset.name,
        "digest": dataset.digest,
        "source": dataset.source,
        "skipped": list(dataset.skipped),
        "given": None if dataset.given is None else configuration(dataset.given),
        "seed": dataset.seed,
        "notes": list(dataset.notes),
        "options": dict(dataset.options),
    }
    save_file(tensors, part, {"about": json.dumps(about)})
    part.replace(path)


def load_snapshot(path: Path) -> Dataset:
    """Read the file of :func:`save_snapshot`. The exact density of a sampled set is not in the file."""
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if "load" in about:
        return _streamed(about)
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
        given=about["given"] and construct(about["given"]),
        seed=about["seed"],
        notes=tuple(about["notes"]),
        options=about["options"],
    )


def _streamed(about: Mapping[str, Any]) -> Dataset:
    """Streamed data, read from its files, which must be unchanged.

    Raises:
        DataError: if it has changed.
    """
    dataset = load(**about["load"])
    if dataset.digest != about["digest"]:
        raise DataError(
            f"{dataset.name} has changed since the comparison began; begin another, with another --runs-dir"
        )
    return dataset
