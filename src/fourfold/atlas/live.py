"""The reader of live objects: fourfold models, torch modules, diffusers pipelines, transformers models; by their class and configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fourfold.atlas.evidence import OBJECTIVE_OF, Cell, Claim, Evidence, Reader
from fourfold.atlas.hub import FileSet, read_files
from fourfold.atlas.runs import PARTS
from fourfold.vocabulary import Cost, Facts

__all__ = ["read_live", "stated_facts"]

#: (estimand, principle) of a fourfold model -> what its two answers are
_ESTIMANDS: Mapping[str, Claim] = {
    "Conditionals": Claim.ONE_BY_ONE, "Decoder": Claim.DECODE_LATENT, "Pushforward": Claim.MAP_NOISE, "Bijection": Claim.INVERT, "Denoiser": Claim.ITERATE, "NoisePredictor": Claim.ITERATE,
    "VectorField": Claim.ITERATE, "Score": Claim.ITERATE, "TokenDenoiser": Claim.FILL_MASKS, "Energy": Claim.CHAIN,
}  # fmt: skip
_PRINCIPLES: Mapping[tuple[str, str], Claim] = {
    ("Conditionals", "likelihood"): Claim.NEXT_PIECE, ("Decoder", "bound"): Claim.BOUND, ("Pushforward", "bound"): Claim.BOUND,
    ("Pushforward", "adversarial"): Claim.GAME, ("Decoder", "adversarial"): Claim.GAME, ("Bijection", "likelihood"): Claim.CHANGE_OF_VARIABLES,
    ("Denoiser", "denoising"): Claim.DENOISE, ("NoisePredictor", "denoising"): Claim.DENOISE, ("VectorField", "denoising"): Claim.VELOCITY, ("VectorField", "likelihood"): Claim.CHANGE_OF_VARIABLES, ("Score", "denoising"): Claim.DENOISE,
    ("TokenDenoiser", "denoising"): Claim.MASKED_BOUND, ("TokenDenoiser", "bound"): Claim.MASKED_BOUND, ("Energy", "contrastive"): Claim.ENERGY_CONTRAST,
    ("AverageVelocity", "denoising"): Claim.CONSISTENCY, ("ConsistencyFunction", "denoising"): Claim.CONSISTENCY, ("Denoiser", "bound"): Claim.DENOISE, ("Decoder", "likelihood"): Claim.EXACT_LATENT,
}  # fmt: skip


def read_live(value: object) -> list[Evidence]:
    """Evidence in an object that is already in memory; of a fourfold model its stages and its registered paradigm are asked for, else nothing is called."""
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
    """What a fourfold model states of itself."""
    try:
        facts = getattr(value, "facts", None)
    except LookupError:
        return None
    return facts if isinstance(facts, Facts) else None


def _fourfold(model: Any) -> list[Evidence]:
    learns = getattr(type(model.objective), "learns", type(model.estimand))
    names = [kind.__name__ for kind in getattr(learns, "__mro__", ())]
    principle = str(getattr(type(model.objective), "principle", ""))
    rows = []
    name = next((name for name in names if (name, principle) in _PRINCIPLES), "")
    claim = _PRINCIPLES.get((name, principle)) or _registered(model, principle)
    if claim:
        quote = f"{type(model.objective).__name__}: {principle} of {name or names[0]}"
        rows.append(Evidence(quote, "model.objective", claim, 4.0, Reader.LIVE))
    if (name, principle) == ("VectorField", "likelihood"):
        rows.append(Evidence(type(model.objective).__name__, "model.objective", Claim.SOLVES_ODE, 2.0, Reader.LIVE))
    sampling = next((_ESTIMANDS[name] for name in names if name in _ESTIMANDS), None)
    facts = stated_facts(model)
    if sampling is Claim.CHAIN and facts is not None and facts.cost is Cost.STEPS:
        sampling = Claim.ITERATE
    if sampling:
        rows.append(
            Evidence(type(getattr(model, "sampler", None)).__name__, "model.sampler", sampling, 2.0, Reader.LIVE)
        )
    return rows + _stages(model)


def _registered(model: Any, principle: str) -> Claim | None:
    """The objective of a paradigm from outside: its cell is the one that its package registered."""
    try:
        cell = Cell(str(model.paradigm))
    except (AttributeError, LookupError, ValueError):
        return None
    if cell is Cell.LATENT_VARIABLE and principle == "likelihood":
        return Claim.EXACT_LATENT
    return OBJECTIVE_OF[cell]


def _stages(model: Any) -> list[Evidence]:
    """The parts of a hybrid: models that are trained before it, by the names of their stages, and what reads its captions."""
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
        found = dict(to_dict())
        found.setdefault("architectures", [type(value).__name__])
        return found
    if isinstance(config, Mapping):
        found = {str(key): list(item) if isinstance(item, tuple) else item for key, item in config.items()}
        found.setdefault("_class_name", type(value).__name__)
        return found
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
