"""The reader of live objects (fourfold models, torch modules, pipelines) by their class and configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fourfold.vocabulary import Facts
from fourfold_atlas.evidence import OBJECTIVE_OF, SAMPLING_OF, Cell, Claim, Evidence, Reader
from fourfold_atlas.hub import FileSet, read_files
from fourfold_atlas.runs import PARTS

__all__ = ["read_live", "stated_facts"]


def read_live(value: object) -> list[Evidence]:
    """Evidence in an object in memory. Only ``config.to_dict`` and ``state_dict`` of a foreign one are called."""
    if hasattr(value, "objective") and hasattr(value, "estimand"):
        return _fourfold(value)
    config = _config(value)
    if config:
        name = "model_index.json" if isinstance(config.get("scheduler"), list) else "config.json"
        rows = read_files(FileSet.of({name: json.dumps(config, default=str)}))
        return [
            Evidence(row.quote, f"config.{row.where.split('$.')[-1]}", row.claim, row.weight, Reader.LIVE)
            for row in rows
        ]
    return _module(value)


def stated_facts(value: object) -> Facts | None:
    """The statements of a fourfold model about itself."""
    try:
        facts = getattr(value, "facts", None)
    except LookupError:
        return None
    return facts if isinstance(facts, Facts) else None


def _fourfold(model: Any) -> list[Evidence]:
    """The cell that its estimand and its principle are registered for. The model's own facts say the rest."""
    try:
        cell = Cell(str(model.paradigm))
    except (AttributeError, LookupError, ValueError):
        return _stages(model)
    objective, sampler = type(model.objective), type(getattr(model, "sampler", None))
    principle = str(getattr(objective, "principle", ""))
    learns = getattr(objective, "learns", type(model.estimand))
    quote = f"{objective.__name__}: {principle} of {getattr(learns, '__name__', learns)}"
    exact = cell is Cell.LATENT_VARIABLE and principle == "likelihood"
    claim = Claim.EXACT_LATENT if exact else OBJECTIVE_OF[cell]
    return [
        Evidence(quote, "model.objective", claim, 4.0, Reader.LIVE),
        Evidence(sampler.__name__, "model.sampler", SAMPLING_OF[cell], 2.0, Reader.LIVE),
        *_stages(model),
    ]


def _stages(model: Any) -> list[Evidence]:
    """The parts of a hybrid: models trained before it, by the names of their stages, and the reader of its captions."""
    stages = getattr(model, "stages", None)
    rows = [
        Evidence(
            f"stage {stage.name}: {type(stage.model.estimand).__name__}", "model.stages()", claim, 1.0, Reader.LIVE
        )
        for stage in (stages() if callable(stages) else [])
        if (claim := PARTS.get(stage.name))
    ]
    if getattr(getattr(model, "space", None), "caption", None) is not None:
        rows.append(Evidence("images given captions", "model.space", Claim.PART_TEXT_ENCODER, 1.0, Reader.LIVE))
    return rows


def _config(value: Any) -> dict[str, Any]:
    """The configuration of a diffusers or transformers object, as its files would hold it."""
    config = getattr(value, "config", None)
    to_dict = getattr(config, "to_dict", None)
    if callable(to_dict):
        fields = dict(to_dict())
        fields.setdefault("architectures", [type(value).__name__])
        return fields
    if isinstance(config, Mapping):
        fields = {str(key): list(item) if isinstance(item, tuple) else item for key, item in config.items()}
        fields.setdefault("_class_name", type(value).__name__)
        return fields
    return {}


def _module(value: Any) -> list[Evidence]:
    """A plain module: names and shapes of its parameters, as a safetensors header would give them."""
    state = getattr(value, "state_dict", None)
    shapes = (
        {str(name): tuple(getattr(tensor, "shape", ())) for name, tensor in state().items()} if callable(state) else {}
    )
    rows = read_files(FileSet({}, {}, {"state_dict": shapes})) if shapes else []
    rows += read_files(FileSet.of({"config.json": json.dumps({"architectures": [type(value).__name__]})}))
    return [
        Evidence(row.quote, f"type({type(value).__name__})", row.claim, row.weight * 0.8, Reader.LIVE) for row in rows
    ]
