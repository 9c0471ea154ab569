"""Checks of the files of a run folder."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path as FilePath

import torch

from fourfold.checks.base import raw_examples, require
from fourfold.core import GenerativeModel, classes, configuration, construct
from fourfold.engine import load_model, save_model
from fourfold.parallel.models import channels_last

__all__ = ["check_configuration", "check_saved"]


def check_configuration(model: GenerativeModel) -> None:
    """``model.json`` rebuilds every part: the configuration survives a round trip, and so do the parameters' shapes."""
    parts = json.loads(json.dumps(model.configuration()))
    trust = list(classes(model))
    rebuilt = GenerativeModel.from_configuration(parts, trust)
    require(rebuilt.configuration() == model.configuration(), "the configuration changes in a round trip")
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    require({k: v.shape for k, v in rebuilt.state_dict().items()} == shapes, "the rebuilt model has other parameters")
    for part in (model.sampler, model.likelihood, model.space):
        require(construct(configuration(part), trust) == part, f"{type(part).__name__} changes in a round trip")


def check_saved(model: GenerativeModel) -> None:
    """Saved and loaded, a model samples and scores the same."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, FilePath(folder))
        loaded = load_model(FilePath(folder), list(classes(model)))
    # weights are loaded with channels last, and another layout in memory rounds convolutions otherwise
    own = copy.deepcopy(model)
    channels_last(own)
    require(torch.equal(own.sample(3), loaded.sample(3)), "the loaded model samples differently")
    x, cond = raw_examples(model, 3)
    same = torch.allclose(model.log_prob(x, cond).nats, loaded.log_prob(x, cond).nats, equal_nan=True)
    require(same, "the loaded model scores differently")
