"""Pipelines of Hugging Face's ``diffusers``: their networks as estimands, their schedules as paths.

A folder with a ``model_index.json`` becomes estimand, path, codec and condition, so that every sampler of this library
runs on it: pixels with or without classes (``UNet2DModel``), latent diffusion with classes (``DiTTransformer2DModel``)
or prompts (``UNet2DConditionModel`` of Stable Diffusion, PixArt, Stable Diffusion 3, Flux). Noise, velocity and clean
example are predicted on a path of betas. The velocity of straight lines on one of flow matching. Only safetensors are
read.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.adapters.checks import check_folder, check_size, plain_settings, settings_of
from fourfold.adapters.reading import check_tensors, imported, naming, quiet
from fourfold.codecs import Dequantised
from fourfold.core import Codec, Estimand, GenerativeModel, Likelihood, Measure, Noise, Objective, Space
from fourfold.core.header import read_header
from fourfold.estimands import NoisePredictor, Velocity
from fourfold.likelihoods import NoDensity, ProbabilityFlow
from fourfold.maths.paths import Path, broadcast
from fourfold.paradigms.diffusion import FlowMatching, NoisePrediction
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Categories, Images, Lines
from fourfold_published.schedules import read_schedule

__all__ = ["PublishedAutoencoder", "PublishedNetwork", "PublishedNoise", "PublishedVelocity", "open_pipeline"]

CAPTIONS = Lines.of_bytes(320)
"""The most bytes of a prompt: about the 77 tokens of CLIP."""
FLUX_SIDE = 128
"""Height and width of the codes of Flux, whose network has no size of its own."""
DISTILLED = 3.5
"""Guidance that a network knows as an input, where it was distilled from a guided one."""


# --- the networks -----------------------------------------------------------------------------------------------------


def _plainly(net: Any, x: Tensor, step: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
    return torch.as_tensor(net(x, timestep=step, **condition).sample)


def _pixart(net: Any, x: Tensor, step: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
    """A large PixArt is also conditioned on the size of the image and its shape."""
    sized: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
    if net.use_additional_conditions:
        height, width = 8.0 * x.shape[2], 8.0 * x.shape[3]
        sized["resolution"] = x.new_tensor([height, width]).repeat(len(x), 1)
        sized["aspect_ratio"] = x.new_tensor([height / width]).repeat(len(x), 1)
    return torch.as_tensor(net(x, timestep=step, added_cond_kwargs=sized, **condition).sample)


def _flux(net: Any, x: Tensor, step: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
    """Squares of 2 x 2 codes are the tokens, which know their row and column."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    places = torch.cartesian_prod(torch.arange(1), torch.arange(height), torch.arange(width)).to(x)
    guidance = torch.full((len(x),), DISTILLED, device=x.device) if net.config.guidance_embeds else None
    tokens = F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)
    out = net(tokens, timestep=step / 1000, guidance=guidance, img_ids=places, **condition).sample
    return F.pixel_shuffle(out.transpose(1, 2).unflatten(2, (height, width)), 2)


_Call = Callable[[Any, Tensor, Tensor, Mapping[str, Tensor]], Tensor]

_CALLS: Mapping[str, _Call] = {
    "UNet2DModel": _plainly,
    "DiTTransformer2DModel": _plainly,
    "Transformer2DModel": _plainly,
    "UNet2DConditionModel": _plainly,
    "PixArtTransformer2DModel": _pixart,
    "SD3Transformer2DModel": _plainly,
    "FluxTransformer2DModel": _flux,
}
"""The call of each network that is read here."""

_PROMPTED: Mapping[str, tuple[str, tuple[str | None, ...]]] = {
    "UNet2DConditionModel": ("StableDiffusionPipeline", ("encoder_hidden_states", None)),
    "PixArtTransformer2DModel": (
        "PixArtAlphaPipeline",
        ("encoder_hidden_states", "encoder_attention_mask", None, None),
    ),
    "SD3Transformer2DModel": (
        "StableDiffusion3Pipeline",
        ("encoder_hidden_states", None, "pooled_projections", None),
    ),
    "FluxTransformer2DModel": ("FluxPipeline", ("encoder_hidden_states", "pooled_projections", "txt_ids")),
}
"""For each network with prompts, the pipeline that encodes them, and the inputs that the encodings become."""
_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")


@final
class PublishedNetwork(nn.Module):
    """The output of a published network for ``x_t`` at a step, under a class or a prompt.

    Args:
        kind: name of its class in ``diffusers``.
        config: the content of its ``config.json``.
        folder: its pipeline, which has the encoders of prompts. ``None`` without prompts.
    """

    def __init__(self, kind: str, config: str, folder: str | None = None) -> None:
        super().__init__()
        self.kind = kind
        with torch.device("meta"):
            self.inner: Any = getattr(imported("diffusers"), kind).from_config(json.loads(config))
        self.text = None if folder is None else _Prompts(kind, FilePath(folder), self.inner)
        classes = getattr(self.inner.config, "num_class_embeds", None) or "DiT" in kind or kind == "Transformer2DModel"
        self.labelled = bool(classes) and self.text is None

    def forward(self, x_t: Tensor, step: Tensor, cond: Tensor | None = None) -> Tensor:
        condition: Mapping[str, Tensor] = {}
        if self.text is not None:
            condition = self.text(cond, len(x_t), x_t.device)
        elif self.labelled:
            condition = {"class_labels": self._labels(cond, len(x_t), x_t.device)}
        return _CALLS[self.kind](self.inner, x_t, step, condition)[:, : x_t.shape[1]]  # a learned variance may follow

    def _labels(self, cond: Tensor | None, batch: int, device: torch.device) -> Tensor:
        """Class labels ``(B,)``, in which the network's own label for "unknown" stands for -1.

        Raises:
            ValueError: for an unknown class, where the network has no label for it.
        """
        labels = torch.full((batch,), -1, device=device) if cond is None else cond
        unknown = getattr(self.inner.config, "num_embeds_ada_norm", None)
        if unknown is None and bool((labels < 0).any()):
            raise ValueError("given must be a class, as this network has no guidance, got none: give one")
        return labels if unknown is None else labels.masked_fill(labels < 0, int(unknown))


@final
class _Prompts(nn.Module):
    """Prompts as a pipeline encodes them for its network. The last ones are remembered."""

    def __init__(self, kind: str, folder: FilePath, network: Any) -> None:
        super().__init__()
        name, self.inputs = _PROMPTED[kind]
        pipeline, transformers = getattr(imported("diffusers"), name), imported("transformers")
        parts: dict[str, Any] = {"transformer": network}  # a pipeline asks it how wide its prompts are
        for part, (_, class_name) in _index(folder).items():
            if part.startswith("text_encoder") and class_name in _ENCODERS:
                parts[part] = _part(folder, part, getattr(transformers, class_name))
            elif part.startswith("tokenizer") and class_name in _TOKENIZERS:
                with naming(folder / part), quiet():
                    parts[part] = getattr(transformers, class_name).from_pretrained(
                        folder / part, local_files_only=True
                    )
            elif class_name and part.startswith(("text_encoder", "tokenizer")):
                raise ValueError(
                    f"{folder / part}: the encoder of prompts must be one that is read here, got {class_name}"
                )
        self.encoders = nn.ModuleDict({part: encoder for part, encoder in parts.items() if part.startswith("text")})
        expected, options = pipeline._get_signature_keys(pipeline)
        unchecked = {"requires_safety_checker": False} if "requires_safety_checker" in options else {}
        with naming(folder), quiet():
            self.pipeline = pipeline(**{part: parts.get(part) for part in expected}, **unchecked)
        self._last: tuple[tuple[str, ...], dict[str, Tensor]] | None = None

    def forward(self, cond: Tensor | None, batch: int, device: torch.device) -> dict[str, Tensor]:
        texts = tuple([""] * batch if cond is None else CAPTIONS.strings(cond.cpu()))
        if self._last is None or self._last[0] != texts:
            options = inspect.signature(self.pipeline.encode_prompt).parameters
            arguments: dict[str, Any] = {
                "prompt_2": None,
                "prompt_3": None,
                "device": device,
                "num_images_per_prompt": 1,
            }
            arguments["do_classifier_free_guidance"] = False
            with quiet():
                embeddings = self.pipeline.encode_prompt(
                    list(texts), **{k: v for k, v in arguments.items() if k in options}
                )
            pairs = zip(self.inputs, embeddings, strict=True)
            self._last = texts, {name: value for name, value in pairs if name is not None}
        return self._last[1]


@final
class PublishedNoise(NoisePredictor):
    """``eps_hat(x_t, t, c)`` of a published network on a path of betas, whatever it predicts.

    Args:
        net: the network that is asked.
        event: shape of what it denoises.
        path: its schedule.
        predicts: ``epsilon``, ``v_prediction`` or ``sample``.
        whole: whether it is asked at whole steps only, by a scheduler whose noise levels lie between them.
    """

    def __init__(
        self, net: PublishedNetwork, event: tuple[int, ...], path: Path, predicts: str = "epsilon", whole: bool = False
    ) -> None:
        super().__init__()
        self.net, self.event, self.path, self.predicts, self.whole = net, tuple(event), path, predicts, whole

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        out = self.net(x_t, (t - 1).round() if self.whole else t - 1, cond)
        alpha, sigma = broadcast(self.path.alpha(t), x_t), broadcast(self.path.sigma(t), x_t)
        if self.predicts == "v_prediction":
            return alpha * out + sigma * x_t
        return (x_t - alpha * out) / sigma if self.predicts == "sample" else out


@final
class PublishedVelocity(Velocity):
    """``v(x_t, t, c)`` of a published network of flow matching, whose steps are thousandths.

    Args:
        net: the network.
        event: shape of what it draws.
        path: straight lines, with the times of its scheduler.
        steps: the step of pure noise.
    """

    def __init__(self, net: PublishedNetwork, event: tuple[int, ...], path: Path, steps: int = 1000) -> None:
        super().__init__()
        self.net, self.event, self.path, self.steps = net, tuple(event), path, steps

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return torch.as_tensor(self.net(x_t, self.steps * t, cond))


# --- the codec --------------------------------------------------------------------------------------------------------


@final
class PublishedAutoencoder(Codec):
    """The latent codes of a published autoencoder, scaled to unit variance. Decoding is the mean it draws.

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
        with torch.device("meta"):
            self.inner: Any = imported("diffusers").AutoencoderKL.from_config(json.loads(config))
        self.scale, self.shift = self.inner.config.scaling_factor, self.inner.config.shift_factor or 0.0

    @property
    def decoding(self) -> str:
        return "decode by a published autoencoder"

    @property
    def faithful(self) -> bool:
        return False

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        reals = x.float() * (2 / (self.space.n_values - 1)) - 1
        z = (self.inner.encode(reals).latent_dist.mean - self.shift) * self.scale
        return z, torch.full((len(x),), math.nan, device=x.device)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        reals = self.inner.decode(z.float() / self.scale + self.shift).sample
        values = ((reals + 1) * ((self.space.n_values - 1) / 2)).round()
        return values.clamp(0, self.space.n_values - 1).to(torch.uint8)


# --- opening ----------------------------------------------------------------------------------------------------------


def open_pipeline(folder: FilePath) -> GenerativeModel:
    """A pipeline's folder as a generative model.

    Raises:
        ValueError: for a pipeline of another kind, missing parts, or weights that are not safetensors.
    """
    index = _index(folder)
    name = "transformer" if index.get("transformer", ("", None))[1] else "unet"
    kind = index.get(name, ("", None))[1]
    if kind is None or "scheduler" not in index:
        raise ValueError(f"{folder}: must have a unet or a transformer with a scheduler, got none")
    if kind not in _CALLS:
        raise ValueError(f"{folder}: the network must be one of {', '.join(_CALLS)}, got {kind}")
    inner = _part(folder, name, getattr(imported("diffusers"), kind))
    event, tokens = _size_of(inner, kind)
    path, predicts, sampler = read_schedule(folder, tokens, kind)
    prompted = kind in _PROMPTED
    classes = getattr(inner.config, "num_class_embeds", None) or getattr(inner.config, "num_embeds_ada_norm", None)
    given = CAPTIONS if prompted else Categories.numbered(classes) if classes else None
    codec: Codec
    likelihood: Likelihood
    if "vae" in index:
        codec = _autoencoder(folder, index["vae"][1], event, given)
        space, likelihood = codec.space, NoDensity(codec.bound)
    else:
        space = Images(*event, given=given)
        codec, likelihood = Dequantised(space), ProbabilityFlow()
    with naming(folder):
        net = PublishedNetwork(kind, json.dumps(_plain(inner.config)), str(folder) if prompted else None)
    net.inner = inner
    estimand: Estimand = PublishedVelocity(net, event, path)
    objective: Objective = FlowMatching()
    if predicts != "velocity":
        estimand = PublishedNoise(net, event, path, predicts, isinstance(sampler, DPMSolver))
        objective = NoisePrediction()
    return GenerativeModel(space, codec, estimand, objective, sampler, likelihood).eval()


def _index(folder: FilePath) -> dict[str, tuple[str, str | None]]:
    """Library and class of each part of a pipeline. Parts that are left out have no class.

    Raises:
        ValueError: for an index that is not one.
    """
    place = folder / "model_index.json"
    with naming(place):
        value = json.loads(place.read_text(encoding="utf-8"))
        return {name: (part[0], part[1]) for name, part in value.items() if isinstance(part, list)}


def _size_of(inner: Any, kind: str) -> tuple[tuple[int, int, int], int]:
    """Shape of what a network denoises, and its number of tokens."""
    channels, side = int(inner.config.in_channels), getattr(inner.config, "sample_size", None) or FLUX_SIDE
    height, width = (side, side) if isinstance(side, int) else side
    if kind == "FluxTransformer2DModel":
        return (channels // 4, height, width), height * width // 4
    return (channels, height, width), height * width // int(getattr(inner.config, "patch_size", None) or 1) ** 2


def _autoencoder(
    folder: FilePath, kind: str | None, event: tuple[int, ...], given: Space | None
) -> PublishedAutoencoder:
    """The codec of a pipeline's autoencoder.

    Raises:
        ValueError: for an autoencoder of another kind.
    """
    if kind != "AutoencoderKL":
        raise ValueError(f"{folder}: the autoencoder must be AutoencoderKL, got {kind}")
    vae = _part(folder, "vae", imported("diffusers").AutoencoderKL)
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    space = Images(int(vae.config.out_channels), event[1] * scale, event[2] * scale, given=given)
    codec = PublishedAutoencoder(space, json.dumps(_plain(vae.config)), event)
    codec.inner = vae
    return codec


def _part(folder: FilePath, name: str, kind: Any) -> Any:
    """A network of a pipeline, from safetensors alone, with all of its tensors.

    Raises:
        ValueError: for weights that are pickled, missing or damaged.
    """
    if not any((folder / name).glob("*.safetensors")):
        raise ValueError(
            f"{folder / name}: must hold .safetensors, as others may run code, got none: save the pipeline again"
        )
    check_folder(folder / name)
    of_diffusers = hasattr(kind, "load_config")  # a network of diffusers, else a text encoder of transformers
    with naming(folder / name), quiet():
        header = read_header(folder / name)
        settings = plain_settings(settings_of(folder / name / "config.json"))
        config = settings if of_diffusers else kind.config_class.from_dict(settings)
    check_size(folder / name, header, lambda: kind.from_config(config) if of_diffusers else kind._from_config(config))
    with naming(folder / name), quiet():
        network, report = kind.from_pretrained(
            folder / name,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **({} if of_diffusers else {"config": config}),
        )
    check_tensors(folder / name, report)
    return network.float().eval()


def _plain(config: Any) -> dict[str, Any]:
    """A configuration without what only names a file or a version."""
    return {key: value for key, value in dict(config).items() if not key.startswith("_")}
