"""Diffusion models that were trained here, written as folders that ``diffusers`` opens and draws from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fourfold.adapters.reading import imported, quiet
from fourfold.core import GenerativeModel
from fourfold.estimands.preconditioned import STEPS, SteppedNoise, SteppedVelocity
from fourfold.maths.paths import Path as NoisePath
from fourfold.nn.ddpm_unet import GROUPS, DDPMUNet

__all__ = ["write_pipeline"]

NAMES: Sequence[tuple[str, str]] = (
    (r"^first\.", "time_embedding.linear_1."),
    (r"^second\.", "time_embedding.linear_2."),
    (r"^stem\.", "conv_in."),
    (r"^norm\.", "conv_norm_out."),
    (r"^head\.", "conv_out."),
    (r"^before\.", "mid_block.resnets.0."),
    (r"^between\.", "mid_block.attentions.0."),
    (r"^after\.", "mid_block.resnets.1."),
    (r"^down\.(\d+)\.resample\.", r"down_blocks.\1.downsamplers.0.conv."),
    (r"^up\.(\d+)\.resample\.", r"up_blocks.\1.upsamplers.0.conv."),
    (r"^(down|up)\.(\d+)\.blocks\.", r"\1_blocks.\2.resnets."),
    (r"^(down|up)\.(\d+)\.attentions\.", r"\1_blocks.\2.attentions."),
    (r"\.(norm|conv)_([12])\.", r".\1\2."),
    (r"\.modulation\.", ".time_emb_proj."),
    (r"\.shortcut\.", ".conv_shortcut."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.out\.", r"\1.to_out.0."),
)
"""Names of our parameters, and those of ``UNet2DModel``."""


def write_pipeline(model: GenerativeModel, folder: Path | str, label: int = -1) -> Path:
    """Write a diffusion model of images as a pipeline of ``diffusers``, whose network says the same at every step.

    No pipeline of pixels takes labels, so the pipeline draws one class, or all of them: the vector of the label is
    added to the bias of the vector of the step.

    Args:
        model: of the recipes ``diffusion/ddpm`` and ``diffusion/ddpm-velocity``.
        folder: where it is written.
        label: the class that the pipeline draws; -1 draws all.

    Raises:
        TypeError: for a model whose network the library does not have, with those that it has.
        ValueError: for a label that is not a class of the model.
    """
    estimand, library = model.estimand, imported("diffusers")
    if not isinstance(estimand, (SteppedNoise, SteppedVelocity)) or not isinstance(estimand.net, DDPMUNet):
        raise TypeError(
            "the model must be of text, or of images by diffusion/ddpm or diffusion/ddpm-velocity, to be exported, got "
            f"one of {type(model.space).__name__.lower()} by {type(estimand).__name__}"
        )
    given = model.space.given
    classes = 0 if given is None else len(given.names)
    if not -1 <= label < classes:
        raise ValueError(f"label must be a class below {classes}, got {label}")
    if isinstance(estimand, SteppedVelocity):
        kind, scheduler = library.DDPMPipeline, library.FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS)
    else:
        kind, scheduler = library.DDIMPipeline, _steps_of(estimand.path)
    with quiet():
        kind(_unet(estimand.net, (model.space.shape[1], model.space.shape[2]), label), scheduler).save_pretrained(
            folder
        )
    return Path(folder)


def _steps_of(path: NoisePath) -> Any:
    """A scheduler whose steps have the noise levels of a path at thousandths of its time."""
    t = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    bars = path.alpha(t).square() / (path.alpha(t).square() + path.sigma(t).square())
    betas = 1 - bars / torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    return imported("diffusers").DDIMScheduler(
        STEPS, trained_betas=betas.tolist(), clip_sample=False, timestep_spacing="trailing"
    )


@torch.no_grad()
def _unet(net: DDPMUNet, sides: tuple[int, int], label: int) -> Any:
    """The network as a ``UNet2DModel``."""
    down = ["AttnDownBlock2D" if stage.attentions else "DownBlock2D" for stage in net.stages(net.down)]
    network = imported("diffusers").UNet2DModel(
        sample_size=sides,
        in_channels=net.channels,
        out_channels=net.channels,
        block_out_channels=net.widths,
        layers_per_block=net.layers,
        down_block_types=down,
        up_block_types=[kind.replace("Down", "Up") for kind in reversed(down)],
        norm_num_groups=GROUPS,
        attention_head_dim=None,
    )
    weights = {
        _class_name(name): value.float() for name, value in net.state_dict().items() if not name.startswith("given.")
    }
    if net.given is not None:
        share = net.given(torch.tensor([label]), 1)[0]
        weights["time_embedding.linear_2.bias"] = (net.second.bias + share).detach().float()
    network.load_state_dict(weights)
    return network.eval()


def _class_name(name: str) -> str:
    """The library's name of a parameter."""
    for ours, theirs in NAMES:
        name = re.sub(ours, theirs, name)
    return name
