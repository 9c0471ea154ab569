"""Pipelines of Hugging Face's ``diffusers``: their networks as noise predictors, their schedules as paths.

A folder with a ``model_index.json`` becomes estimand, path, codec and condition, so that every sampler of this library
runs on it: pixels with or without classes (``UNet2DModel``), and latent diffusion with classes
(``DiTTransformer2DModel``) or prompts (``UNet2DConditionModel`` with a CLIP text encoder). Only safetensors are read.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.adapters.reading import quiet, told
from fourfold.codecs import Dequantised
from fourfold.core import Codec, GenerativeModel, Measure, Noise, decode_captions
from fourfold.estimands import NoisePredictor
from fourfold.likelihoods import NoDensity, ProbabilityFlow
from fourfold.paradigms.diffusion import NoisePrediction
from fourfold.paths import Path, broadcast
from fourfold.samplers.ode import DDIM
from fourfold.spaces import Images

__all__ = ["PublishedAutoencoder", "PublishedNoise", "Tabulated", "open_pipeline"]

CAPTION = 320
"""The most bytes of a prompt: about the 77 tokens of CLIP."""
STEPS = 50
"""Steps of the sampler, where nothing else is asked for."""


# --- the path ---------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, repr=False)
class Tabulated(Path):
    """A path in ``T`` discrete steps: time ``t = k + 1`` is step ``k``; between steps ``lambda_t`` is linear.

    ``alpha_t^2`` is the product of ``1 - beta_i`` up to step ``k``, and ``sigma_t^2 = 1 - alpha_t^2`` (Ho, Jain, Abbeel
    2020, https://arxiv.org/abs/2006.11239).

    Attributes:
        alpha_bars: ``alpha_t^2`` of each step.
        spacing: which steps a sampler visits: ``leading``, ``trailing`` or ``linspace`` (Lin et al. 2023,
            https://arxiv.org/abs/2305.08891, table 2).
        offset: added to the steps of leading spacing.
    """

    alpha_bars: tuple[float, ...]
    spacing: str = "leading"
    offset: int = 0
    t_min: float = 1.0

    def __repr__(self) -> str:
        return f"Tabulated({len(self.alpha_bars)} steps, {self.spacing})"

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
        """The times that the schedule visits in so many steps, and its first time (float64).

        Raises:
            ValueError: for more steps than there are.
        """
        count = len(self.alpha_bars)
        if steps > count:
            raise ValueError(f"{steps} steps are more than the {count} of this schedule: take fewer")
        if self.spacing == "leading":
            visited = torch.arange(steps).flip(0) * (count // steps) + self.offset
        elif self.spacing == "trailing":
            visited = (count - torch.arange(steps) * (count / steps)).round() - 1
        else:
            visited = torch.linspace(0, count - 1, steps, dtype=torch.float64).round().flip(0)
        return torch.cat([visited.double().clamp(0, count - 1) + 1, torch.tensor([self.t_min], dtype=torch.float64)])


@lru_cache(maxsize=8)
def _lambdas(alpha_bars: tuple[float, ...]) -> Tensor:
    """``log(alpha / sigma)`` of each step, float64."""
    bars = torch.tensor(alpha_bars, dtype=torch.float64)
    return (bars.log() - (-bars).log1p()) / 2


# --- the estimand and the codec ---------------------------------------------------------------------------------------


@final
class PublishedNoise(NoisePredictor):
    """``eps_hat(x_t, t, c)`` of a published network, whatever it predicts: noise, velocity or the clean example.

    Args:
        kind: name of its class in ``diffusers``.
        config: the content of its ``config.json``.
        event: shape of what it denoises.
        path: its schedule.
        predicts: ``epsilon``, ``v_prediction`` or ``sample``.
        text: configuration of its CLIP text encoder, and the folder of its tokenizer; ``None`` without prompts.
    """

    def __init__(
        self,
        kind: str,
        config: str,
        event: tuple[int, ...],
        path: Path,
        predicts: str = "epsilon",
        text: tuple[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.event, self.path, self.predicts = tuple(event), path, predicts
        self.inner: Any = getattr(_library(), kind).from_config(json.loads(config))
        self.text = None if text is None else _Prompts(*text)
        self.labelled = "class_labels" if getattr(self.inner.config, "num_class_embeds", None) or "DiT" in kind else ""

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        given: dict[str, Tensor] = {}
        if self.text is not None:
            given["encoder_hidden_states"] = self.text(cond, len(x_t), x_t.device)
        elif self.labelled:
            given[self.labelled] = self._labels(cond, len(x_t), x_t.device)
        out = self.inner(x_t, timestep=t - 1, **given).sample[:, : self.event[0]]  # a learned variance may follow
        alpha, sigma = broadcast(self.path.alpha(t), x_t), broadcast(self.path.sigma(t), x_t)
        if self.predicts == "v_prediction":
            return alpha * out + sigma * x_t
        return (x_t - alpha * out) / sigma if self.predicts == "sample" else out

    def _labels(self, cond: Tensor | None, batch: int, device: torch.device) -> Tensor:
        """Class labels ``(B,)``, in which the network's own label for "unknown" stands for -1.

        Raises:
            ValueError: for an unknown class, where the network has no label for it.
        """
        labels = torch.full((batch,), -1, device=device) if cond is None else cond
        unknown = getattr(self.inner.config, "num_embeds_ada_norm", None)
        if unknown is None and bool((labels < 0).any()):
            raise ValueError("this network always needs a class, and has no guidance: give one with --cond")
        return labels if unknown is None else labels.masked_fill(labels < 0, int(unknown))


@final
class _Prompts(nn.Module):
    """Prompts as the hidden states of a CLIP text encoder, ``(B, 77, width)``; the last ones are remembered."""

    def __init__(self, config: str, folder: str) -> None:
        super().__init__()
        import transformers

        self.encoder: Any = transformers.CLIPTextModel(transformers.CLIPTextConfig(**json.loads(config)))
        self.tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self._last: tuple[tuple[str, ...], Tensor] | None = None

    def forward(self, cond: Tensor | None, batch: int, device: torch.device) -> Tensor:
        texts = tuple([""] * batch if cond is None else decode_captions(cond))
        if self._last is None or self._last[0] != texts:
            length = min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings)
            ids = self.tokenizer(
                list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids
            self._last = texts, self.encoder(ids.to(device))[0]
        return self._last[1]


@final
class PublishedAutoencoder(Codec):
    """The latent codes of a published autoencoder, scaled to unit variance; decoding is the mean it draws.

    It has no density of images, so a model of its codes has none either.

    Args:
        space: the images.
        config: the content of its ``config.json``.
        event: shape of one code.
    """

    measure: ClassVar[Measure] = Measure.LEBESGUE
    rms = 1.0
    bound = "the published autoencoder has no density of images"

    def __init__(self, space: Images, config: str, event: tuple[int, ...]) -> None:
        super().__init__()
        self.space, self.event = space, tuple(event)
        self.inner: Any = _library().AutoencoderKL.from_config(json.loads(config))

    @property
    def decoding(self) -> str:
        return "decode by a published autoencoder"

    @property
    def faithful(self) -> bool:
        return False

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        reals = x.float() * (2 / (self.space.levels - 1)) - 1
        z = self.inner.encode(reals).latent_dist.mean * self.inner.config.scaling_factor
        return z, torch.full((len(x),), math.nan, device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        reals = self.inner.decode(z.float() / self.inner.config.scaling_factor).sample
        levels = ((reals + 1) * ((self.space.levels - 1) / 2)).round()
        return levels.clamp(0, self.space.levels - 1).to(torch.uint8)


# --- opening ----------------------------------------------------------------------------------------------------------


def open_pipeline(folder: FilePath) -> GenerativeModel:
    """A pipeline's folder as a generative model.

    Raises:
        ValueError: for a pipeline of another kind, missing parts, or weights that are not safetensors.
    """
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    name = "transformer" if index.get("transformer") else "unet"
    if name not in index or "scheduler" not in index:
        raise ValueError(
            f"{folder}: {index.get('_class_name')} has no unet or transformer with a scheduler: not read here"
        )
    kind = str(index[name][1])
    if kind not in ("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel", "Transformer2DModel"):
        raise ValueError(f"{folder}: networks of {kind} are not read here")
    path, predicts = _schedule(folder)
    inner = _part(folder, name, getattr(_library(), kind))
    channels, side = int(inner.config.in_channels), inner.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    event = (channels, int(height), int(width))
    classes = getattr(inner.config, "num_class_embeds", None) or getattr(inner.config, "num_embeds_ada_norm", None)
    text = _text_of(folder) if kind == "UNet2DConditionModel" else None
    known: dict[str, Any] = {"caption": CAPTION} if text else {"classes": classes} if classes else {}
    codec: Codec
    if "vae" in index:
        vae = _part(folder, "vae", _library().AutoencoderKL)
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        space = Images(int(vae.config.out_channels), event[1] * scale, event[2] * scale, **known)
        codec = PublishedAutoencoder(space, json.dumps(_plain(vae.config)), event)
        codec.inner = vae
        likelihood: Any = NoDensity("the published autoencoder has no density of images")
    else:
        space = Images(*event, **known)
        codec, likelihood = Dequantised(space), ProbabilityFlow()
    with told(folder):
        estimand = PublishedNoise(kind, json.dumps(_plain(inner.config)), event, path, predicts, text)
    estimand.inner = inner
    if estimand.text is not None:
        import transformers

        estimand.text.encoder = _part(folder, "text_encoder", transformers.CLIPTextModel)
    return GenerativeModel(space, codec, estimand, NoisePrediction(), DDIM(STEPS), likelihood).eval()


def _schedule(folder: FilePath) -> tuple[Tabulated, str]:
    """The path of a pipeline's scheduler, and what its network predicts."""
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if "beta_schedule" not in config:
        raise ValueError(f"{folder}: the schedule of {config.get('_class_name')} is not one of betas: not read here")
    with told(folder), quiet():
        bars = _library().DDIMScheduler.from_config(config).alphas_cumprod.double().tolist()
    path = Tabulated(tuple(bars), config.get("timestep_spacing", "leading"), int(config.get("steps_offset", 0)))
    return path, str(config.get("prediction_type", "epsilon"))


def _part(folder: FilePath, name: str, kind: Any) -> Any:
    """A network of a pipeline, from safetensors alone, with all of its tensors.

    Raises:
        ValueError: for weights that are pickled, missing or damaged.
    """
    if not any((folder / name).glob("*.safetensors")):
        raise ValueError(
            f"{folder / name}: holds no .safetensors; others may run code: save the pipeline again with them"
        )
    with told(folder / name), quiet():
        return kind.from_pretrained(folder / name, use_safetensors=True, local_files_only=True).float().eval()


def _text_of(folder: FilePath) -> tuple[str, str]:
    """The configuration of the text encoder, and the folder of the tokenizer."""
    return (folder / "text_encoder" / "config.json").read_text(encoding="utf-8"), str(folder / "tokenizer")


def _plain(config: Any) -> dict[str, Any]:
    """A configuration without what only names a file or a version."""
    return {key: value for key, value in dict(config).items() if not key.startswith("_")}


def _library() -> Any:
    """``diffusers``, imported where it is used.

    Raises:
        ValueError: where it is not installed, with the way out.
    """
    try:
        import diffusers
    except ImportError:
        raise ValueError("published pipelines need the extra 'hf': pip install 'fourfold[hf]'") from None
    return diffusers
