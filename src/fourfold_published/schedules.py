"""Schedulers of Hugging Face's ``diffusers`` as paths and samplers of this library.

A table of betas becomes a :class:`Tabulated` path, and flow matching becomes :class:`FlowSteps`. The times that a
sampler visits are asked of the library's own scheduler, so spacing, Karras' noise levels, offsets and shifts are those
of the pipeline. What a scheduler does beyond its times is a setting of the sampler, or is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from fourfold.adapters.reading import imported, naming, quiet
from fourfold.core import Sampler
from fourfold.maths.paths import Path, RectifiedFlow
from fourfold.samplers.ode import DDIM, DPMSolver, Euler

__all__ = ["FlowSteps", "Tabulated", "read_schedule"]

STEPS = 50
"""Steps of the sampler, where nothing else is asked for."""
LEAST = 2**-24
"""The least ``alpha_t^2``: a schedule that ends in pure noise keeps a trace of the signal, which has a logarithm."""


@final
@dataclass(frozen=True, repr=False)
class Tabulated(Path):
    """A path in ``T`` discrete steps: time ``t = k + 1`` is step ``k``. Between steps ``lambda_t`` is linear.

    ``alpha_t^2`` is the product of ``1 - beta_i`` up to step ``k``, and ``sigma_t^2 = 1 - alpha_t^2`` (Ho, Jain, Abbeel
    2020, https://arxiv.org/abs/2006.11239).

    Attributes:
        alpha_bars: ``alpha_t^2`` of each step.
        scheduler: the configuration of the library's scheduler, whose steps a sampler visits.
    """

    alpha_bars: tuple[float, ...]
    scheduler: str
    t_min: float = 1.0

    def __repr__(self) -> str:
        return f"Tabulated({len(self.alpha_bars)} steps, {json.loads(self.scheduler)['_class_name']})"

    @property
    def t_max(self) -> float:  # type: ignore[override]
        """The last step."""
        return float(len(self.alpha_bars))

    def _log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``lambda_t`` and its slope, float64."""
        table = _lambdas(self.alpha_bars).to(t.device)
        at = (t.double() - 1).clamp(0, len(table) - 1)
        low = at.floor().long().clamp(max=len(table) - 2)
        slope = table[low + 1] - table[low]
        return table[low] + (at - low) * slope, slope

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sigmoid(2 * self._log_snr(t)[0]).sqrt().to(t.dtype)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sigmoid(-2 * self._log_snr(t)[0]).sqrt().to(t.dtype)

    def d_alpha(self, t: Tensor) -> Tensor:
        level, slope = self._log_snr(t)
        return (slope * torch.sigmoid(2 * level).sqrt() * torch.sigmoid(-2 * level)).to(t.dtype)

    def d_sigma(self, t: Tensor) -> Tensor:
        level, slope = self._log_snr(t)
        return (-slope * torch.sigmoid(-2 * level).sqrt() * torch.sigmoid(2 * level)).to(t.dtype)

    def grid(self, steps: int) -> Tensor:
        """The times that the scheduler visits in so many steps, and the first time of the path (float64).

        Raises:
            ValueError: for more steps than there are.
        """
        if steps > len(self.alpha_bars):
            raise ValueError(f"steps must be at most {len(self.alpha_bars)}, those of the schedule, got {steps}")
        scheduler = _scheduler(self.scheduler)
        scheduler.set_timesteps(steps)
        visited = scheduler.timesteps.double()
        if hasattr(scheduler, "sigmas"):
            levels = scheduler.sigmas[:-1].double().log().numpy()
            visited = torch.from_numpy(np.interp(levels, -_lambdas(self.alpha_bars).numpy(), np.arange(self.t_max)))
        return torch.cat([visited.cpu() + 1, torch.tensor([self.t_min], dtype=torch.float64)])


@lru_cache(maxsize=8)
def _lambdas(alpha_bars: tuple[float, ...]) -> Tensor:
    """``log(alpha / sigma)`` of each step, float64."""
    bars = torch.tensor(alpha_bars, dtype=torch.float64).clamp(min=LEAST)
    return (bars.log() - (-bars).log1p()) / 2


@final
@dataclass(frozen=True, repr=False)
class FlowSteps(RectifiedFlow):
    """Straight lines from data to noise, on which a scheduler of flow matching chooses the times.

    A shift ``s`` moves the times towards the noise: ``t' = s t / (1 + (s - 1) t)``. A dynamic shift grows with the
    number of tokens of the image (Esser et al. 2024, https://arxiv.org/abs/2403.03206, section 5.3.2).

    Attributes:
        scheduler: the configuration of the library's scheduler.
        tokens: tokens of an image, on which a dynamic shift depends.
        even: whether the times are ``1, 1 - 1/n, ..., 1/n`` before they are shifted, as Flux has them. By default they
            are those of the scheduler.
    """

    scheduler: str = ""
    tokens: int = 0
    even: bool = False

    def __repr__(self) -> str:
        return f"FlowSteps(shift {json.loads(self.scheduler).get('shift', 1.0)})"

    def grid(self, steps: int) -> Tensor:
        """The times that the scheduler visits in so many steps, and 0 (float64)."""
        scheduler = _scheduler(self.scheduler)
        sigmas = np.linspace(1.0, 1 / steps, steps) if self.even else None
        scheduler.set_timesteps(steps, sigmas=sigmas, mu=self._shift(scheduler.config))
        return torch.as_tensor(scheduler.sigmas).double().cpu()

    def _shift(self, config: Any) -> float | None:
        """The logarithm of a dynamic shift: linear in the number of tokens."""
        if not config.use_dynamic_shifting:
            return None
        few, many = config.base_image_seq_len, config.max_image_seq_len
        slope = (config.max_shift - config.base_shift) / (many - few)
        return float(config.base_shift + slope * (self.tokens - few))


def _scheduler(config: str) -> Any:
    """The library's scheduler of a configuration."""
    settings = json.loads(config)
    with quiet():
        return getattr(imported("diffusers"), settings["_class_name"]).from_config(settings)


def read_schedule(folder: FilePath, tokens: int, kind: str) -> tuple[Path, str, Sampler]:
    """The path of a pipeline's scheduler, what its network predicts, and the sampler that takes its steps.

    Schedulers that are neither DDIM, DPM-Solver++(2M), Euler nor flow matching give their betas, and DDIM the steps.

    Args:
        folder: the pipeline.
        tokens: tokens of an image.
        kind: class of its network, since some pipelines overrule their scheduler.

    Raises:
        ValueError: for a schedule that is not read here, with its setting.
    """
    place = folder / "scheduler" / "scheduler_config.json"
    with naming(place):
        config = json.loads(place.read_text(encoding="utf-8"))
    name = str(config.get("_class_name"))
    _refuse(place, name, config)
    if name == "FlowMatchEulerDiscreteScheduler":
        even = kind == "FluxTransformer2DModel"
        return FlowSteps(scheduler=json.dumps(config), tokens=tokens, even=even), "velocity", Euler(STEPS)
    if kind == "UNet2DConditionModel":
        config |= {"clip_sample": False, "steps_offset": 1}
    is_read = name in ("DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler")
    config["_class_name"] = name if is_read else "DDIMScheduler"
    with naming(place):
        scheduler = _scheduler(json.dumps(config))
        bars = scheduler.alphas_cumprod.double().tolist()
    return Tabulated(tuple(bars), json.dumps(config)), str(scheduler.config.prediction_type), _sampler(scheduler)


def _refuse(place: FilePath, name: str, config: dict[str, Any]) -> None:
    """Refuse settings that would make other images here.

    Raises:
        ValueError: naming the first one.
    """
    flow = name == "FlowMatchEulerDiscreteScheduler"
    if not flow and "beta_schedule" not in config:
        raise ValueError(f"{place}: the schedule must be one of betas or FlowMatchEuler, got {name}")
    flags = ["thresholding", "use_flow_sigmas", "invert_sigmas", "stochastic_sampling"]
    settings = [f"{key} = {config[key]}" for key in flags if config.get(key)]
    if not flow and config.get("prediction_type", "epsilon") not in ("epsilon", "v_prediction", "sample"):
        settings.append(f"prediction_type = {config['prediction_type']}")
    if settings:
        raise ValueError(
            f"{place}: settings must be those that are read here, got {settings[0]}; change it if the model allows"
        )


def _sampler(scheduler: Any) -> Sampler:
    """The sampler that takes the steps of a scheduler of betas."""
    name, config = type(scheduler).__name__, scheduler.config
    if name == "DPMSolverMultistepScheduler":
        clean = config.final_sigmas_type == "zero"
        return DPMSolver(STEPS, 1 if clean or config.euler_at_final else 2, clean)
    clip = config.clip_sample_range if config.get("clip_sample") else None
    return DDIM(STEPS, clip, bool(config.get("set_alpha_to_one", True)))
