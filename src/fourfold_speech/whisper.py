"""Published Whisper models: transcripts given sound, by the networks of ``transformers``.

A folder is one of ``transformers`` (``config.json``, ``*.safetensors``), or one of CTranslate2 (``model.bin``), which
``faster-whisper`` uses. Both hold the same network (Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak
Supervision, https://arxiv.org/abs/2212.04356), and both become one model here, with the library's own logits. Where
CTranslate2 is installed, it encodes and searches for a folder of its own.
"""

from __future__ import annotations

import functools
import inspect
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from fourfold.adapters.checks import check_folder, check_size, plain_settings, settings_of
from fourfold.adapters.reading import check_tensors, file_of_tokenizer, imported, naming, quiet
from fourfold.codecs import LineTokens
from fourfold.core import GenerativeModel, States, Training
from fourfold.core.header import read_header
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood
from fourfold.spaces import Lines, Text, Tokenizer
from fourfold_speech import ctranslate
from fourfold_speech.networks import SpeechNetwork, sound_lengths
from fourfold_speech.paradigm import TranscriptConditionals
from fourfold_speech.space import Audio

__all__ = ["PublishedWhisper", "open_whisper"]

RATE = 16_000
"""The sampling rate that Whisper expects, in Hz."""
HOP = 320
"""Samples in one frame of its encoder."""


@final
class PublishedWhisper(SpeechNetwork):
    """Next-token logits of a Whisper network of ``transformers``.

    Args:
        config: the content of its ``config.json``.
        prompt: the ids before a text: they say language and task, and that there are no times.
        never: ids that no text holds, such as those of times, and those that the publisher suppresses.
        not_first: ids that no text begins with.

    Attributes:
        translated: the same weights in CTranslate2, for as long as none is trained. None where it is not installed.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ()
    translated: ctranslate.TranslatedWhisper | None = None

    def __init__(
        self, config: str, prompt: Sequence[int], never: Sequence[int] = (), not_first: Sequence[int] = ()
    ) -> None:
        super().__init__()
        transformers = imported("transformers")
        settings = transformers.WhisperConfig(**plain_settings(json.loads(config)))
        self.inner: Any = transformers.WhisperForConditionalGeneration._from_config(settings, dtype=torch.float32)
        self.tokens, self.width = int(settings.vocab_size), int(settings.d_model)
        self.never, self.not_first = tuple(never), tuple(not_first)
        self.prompt = tuple(prompt)
        seconds = settings.max_source_positions * HOP // RATE
        self._mel_features = transformers.WhisperFeatureExtractor(
            feature_size=settings.num_mel_bins, chunk_length=seconds
        )

    def encode(self, sound: Tensor) -> States:
        """Frames of 20 ms. A sound is continued by silence to the length that the network knows."""
        lengths = sound_lengths(sound).tolist()
        waves = [row[:n].float().cpu().numpy() / 32768 for row, n in zip(sound, lengths, strict=True)]
        mels = self._mel_features(waves, sampling_rate=RATE, return_tensors="pt").input_features
        weight = self.inner.proj_out.weight
        if torch.is_grad_enabled():
            self.translated = None
        if self.translated is not None:
            features = self.translated.encode(mels).to(weight.device, weight.dtype)
        else:
            features = self.inner.model.encoder(mels.to(weight.device, weight.dtype)).last_hidden_state
        return States(features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device))

    def start(self, batch: int) -> Tensor:
        return torch.tensor([self.prompt], device=self.inner.proj_out.weight.device).expand(batch, -1)

    def cache(self, sound: States) -> _Past:
        return _Past(self.inner.config)

    def forward(self, ids: Tensor, sound: States, cache: _Past | None = None) -> Tensor:
        past = {} if cache is None else {self._cache_argument: cache.values, "use_cache": True}
        output = self.inner.model.decoder(input_ids=ids, encoder_hidden_states=sound.features, **past)
        return torch.as_tensor(self.inner.proj_out(output.last_hidden_state)).float()

    def likely_texts(self, sound: States, beams: int, length: int) -> list[tuple[int, ...]] | None:
        if self.translated is None:
            return None
        return self.translated.likely_texts(sound.features, self.prompt, beams, length, self.never)

    @property
    def remark(self) -> str:
        return "" if self.translated is None else ctranslate.NOTE

    @functools.cached_property
    def _cache_argument(self) -> str:
        """The name under which this version of the library takes a cache."""
        parameters = inspect.signature(self.inner.model.decoder.forward).parameters
        return "cache" if "cache" in parameters else "past_key_values"


@final
class _Past:
    """Keys and values of text and sound, as the library keeps them."""

    def __init__(self, config: Any) -> None:
        transformers = imported("transformers")
        self._config = config
        self.values = transformers.EncoderDecoderCache(
            transformers.DynamicCache(config=config), transformers.DynamicCache(config=config)
        )

    def select(self, rows: Tensor) -> _Past:
        """A copy of some rows ``(B',)``, in that order."""
        past = _Past(self._config)
        for target, part in (
            (past.values.self_attention_cache, self.values.self_attention_cache),
            (past.values.cross_attention_cache, self.values.cross_attention_cache),
        ):
            for i, layer in enumerate(part.layers):
                if layer.get_seq_length():
                    target.update(layer.keys[rows], layer.values[rows], i)
        past.values.is_updated = dict(self.values.is_updated)
        return past


# --- opening ----------------------------------------------------------------------------------------------------------


def open_whisper(path: Path, language: str = "en", weights: str | None = None) -> GenerativeModel:
    """A folder of a Whisper model, with its tokenizer, as a model of transcripts given sound.

    Args:
        path: the folder.
        language: that of the sound, such as ``de``, for a model that knows several.
        weights: ``float32``, or ``int8``: a folder of CTranslate2 by that library. By default the second where it is
            installed.

    Raises:
        ValueError: for ``int8`` without CTranslate2 or its folder, for a folder that is not of Whisper, missing or
            misshapen tensors, pickled weights, or a language that the model does not know.
    """
    if weights not in (None, "float32", "int8"):
        raise ValueError(f"weights must be float32 or int8, got {weights!r}")
    settings = _json(path / "config.json")
    ours = settings.get("model_type") == "whisper"
    if not ours and not ("alignment_heads" in settings and (path / "model.bin").is_file()):
        kind = settings.get("model_type", "unknown")
        raise ValueError(f"{path}: must be a Whisper model, got one of type {kind!r}; give a folder of Whisper")
    if not (path / "tokenizer.json").is_file():
        raise ValueError(f"{path}: must hold a tokenizer.json, got none: fetch it, or save the tokenizer there")
    tokenizer = Tokenizer(file_of_tokenizer(path))
    prompt = _prompt(path, tokenizer, language)
    inner, suppressed = _transformers(path) if ours else _ctranslate(path, settings, tokenizer.end or 0, prompt[0])
    config = inner.config
    special = [i for i, part in enumerate(tokenizer.token_bytes()) if not part and i != tokenizer.end]
    extra = range(tokenizer.count, int(config.vocab_size))
    never, first = ([i for i in ids if i < int(config.vocab_size)] for ids in suppressed)
    with torch.device("meta"):
        net = PublishedWhisper(_plain(config), prompt, sorted({*never, *special, *extra}), first)
    net.inner = inner
    translated = not ours and ctranslate.is_installed() and any(path.glob("vocabulary.*"))
    last = max((0, *suppressed[0], *suppressed[1]))
    if translated and last >= int(config.vocab_size):  # CTranslate2 would write behind its memory
        raise ValueError(f"{path}: suppressed ids must be below {config.vocab_size}, got {last}; convert it again")
    if weights == "int8" and not translated:
        raise ValueError(f"{path}: weights must be float32 without CTranslate2 or its folder; pip install '.[whisper]'")
    if translated and weights != "float32":
        net.translated = ctranslate.TranslatedWhisper(path)
    length = int(config.max_target_positions) - len(prompt) + 1
    sounds = Audio(int(config.max_source_positions) * HOP, RATE)
    space = Lines(Text("", length, tokenizer=tokenizer), " ", given=sounds)
    estimand = TranscriptConditionals(net, length, space.end)
    training = Training(batch_size=8, learning_rate=1e-5, muon_rate=None)
    objective = MaximumLikelihood(label_dropout=0.0)
    return GenerativeModel(space, LineTokens(space), estimand, objective, Ancestral(), ChainRule(), training).eval()


def _prompt(path: Path, tokenizer: Tokenizer, language: str) -> list[int]:
    """``<|startoftranscript|> (<|en|> <|transcribe|>) <|notimestamps|>``: a model of English has no languages."""
    ids = {tokenizer.name(i): i for i in range(tokenizer.count)}
    tongues = [name[2:-2] for name in ids if len(name) in (6, 7) and name.startswith("<|") and name[2:-2].isalpha()]
    several = not path.name.endswith(".en") and len(tongues) > 1 and not _english(ids)
    if several and language not in tongues:
        raise ValueError(f"{path}: language must be one of {', '.join(sorted(tongues))}, got {language!r}")
    if not several and language != "en":
        raise ValueError(f"{path}: language must be 'en' for a model of English alone, got {language!r}; leave it out")
    names = ["<|startoftranscript|>", *((f"<|{language}|>", "<|transcribe|>") if several else ()), "<|notimestamps|>"]
    missing = next((name for name in names if name not in ids), None)
    if missing is not None:
        raise ValueError(f"{path}: its tokenizer has no {missing}: is it that of another model?")
    return [ids[name] for name in names]


def _english(ids: Mapping[str, int]) -> bool:
    """True for the vocabulary of the models of English, whose symbols begin at 50,256 and not at 50,257."""
    return ids.get("<|endoftext|>") == 50_256


def _plain(config: Any) -> str:
    """A configuration as JSON, without what only names a file or a version."""
    drop = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
    return json.dumps({key: value for key, value in config.to_dict().items() if key not in drop})


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}): give a folder of Whisper") from None
    return value if isinstance(value, dict) else {}


def _transformers(path: Path) -> tuple[Any, tuple[list[int], list[int]]]:
    """The network of a folder of ``transformers``, and the ids that it suppresses: always, and at first."""
    if not any(path.glob("*.safetensors")):
        raise ValueError(f"{path}: must hold .safetensors, got none: save the model again with save_pretrained")
    check_folder(path)
    transformers = imported("transformers")
    with naming(path), quiet():
        header = read_header(path)
        config = transformers.WhisperConfig.from_dict(plain_settings(settings_of(path / "config.json")))
    kind = transformers.WhisperForConditionalGeneration
    check_size(path, header, lambda: kind._from_config(config, dtype=torch.float32))
    with naming(path), quiet():
        inner, report = kind.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
        )
    check_tensors(path, {**report, "unexpected_keys": ()})
    file = path / "generation_config.json"
    settings = _json(file) if file.is_file() else {}
    never, first = (settings.get(key) or [] for key in ("suppress_tokens", "begin_suppress_tokens"))
    return inner.eval().requires_grad_(True), (never, first)


# --- CTranslate2 ------------------------------------------------------------------------------------------------------

KINDS: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}
"""The types of the numbers of a file."""
SIDES = ("encoder", "decoder")


def _ctranslate(
    path: Path, settings: Mapping[str, Any], end: int, start: int
) -> tuple[Any, tuple[list[int], list[int]]]:
    """The same as :func:`_transformers` for a folder of CTranslate2."""
    with naming(path), (path / "model.bin").open("rb") as file:
        arrays = _variables(file)
        weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items() if value.ndim}
        inner = _network(arrays, weights, end, start)
    return inner.eval(), (list(settings.get("suppress_ids") or ()), list(settings.get("suppress_ids_begin") or ()))


def _variables(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of a ``model.bin`` by name.

    Raises:
        ValueError: for a file of another kind or version, cut off, or of whole numbers with scales.
    """

    def number(form: str) -> int:
        return int(struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0])

    def word() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    version, spec = number("I"), word()
    if version != 6 or spec != "WhisperSpec":
        raise ValueError(f"model.bin must be a WhisperSpec of version 6, got a {spec or 'file'} of version {version}")
    number("I")
    arrays = {}
    for _ in range(number("I")):
        name = word()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = KINDS[number("B")], number("I")
        content = file.read(size)
        if len(content) != size or size != int(np.prod(shape, dtype=np.int64)) * kind.itemsize:
            raise ValueError(f"model.bin must be whole, got one that ends within {name}; convert the model again")
        arrays[name] = np.frombuffer(content, kind).reshape(shape)
    for _ in range(number("I")):  # equal arrays stand there once
        name = word()
        arrays[name] = arrays[word()]
    if any(name.endswith("weight_scale") for name in arrays):
        raise ValueError("weights must be floats, got quantised ones: convert the model with --quantization float16")
    return arrays


def _network(arrays: Mapping[str, np.ndarray], weights: Mapping[str, Tensor], end: int, start: int) -> Any:
    """The network of ``transformers`` with the weights of CTranslate2, where query, key and value are one matrix."""
    transformers = imported("transformers")
    depth = [sum(name.endswith("ffn/linear_0/weight") and name.startswith(side) for name in weights) for side in SIDES]
    width, bands = weights["encoder/conv1/weight"].shape[:2]
    heads, hidden = int(arrays["decoder/num_heads"]), len(weights["decoder/layer_0/ffn/linear_0/bias"])
    config = transformers.WhisperConfig(
        vocab_size=len(weights["decoder/embeddings/weight"]),
        num_mel_bins=bands,
        d_model=width,
        encoder_layers=depth[0],
        decoder_layers=depth[1],
        encoder_attention_heads=int(arrays.get("encoder/num_heads", heads)),
        decoder_attention_heads=heads,
        encoder_ffn_dim=hidden,
        decoder_ffn_dim=hidden,
        max_source_positions=len(weights["encoder/position_encodings/encodings"]),
        max_target_positions=len(weights["decoder/position_encodings/encodings"]),
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    with torch.device("meta"):
        inner = transformers.WhisperForConditionalGeneration._from_config(config, dtype=torch.float32)
    state: dict[str, Tensor] = {}
    for side, count in zip(SIDES, depth, strict=True):
        _norm(state, f"model.{side}.layer_norm", weights, f"{side}/layer_norm")
        state[f"model.{side}.embed_positions.weight"] = weights[f"{side}/position_encodings/encodings"]
        for i in range(count):
            _layer(state, f"model.{side}.layers.{i}", weights, f"{side}/layer_{i}")
    for name in ("conv1", "conv2"):
        _linear(state, f"model.encoder.{name}", weights, f"encoder/{name}")
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = weights["decoder/embeddings/weight"]
    inner.load_state_dict(state, assign=True)
    inner.tie_weights()
    return inner


def _layer(state: dict[str, Tensor], name: str, weights: Mapping[str, Tensor], source: str) -> None:
    """One layer: attention to itself, in a decoder also to the sound, and a perceptron."""
    attention = f"{source}/self_attention"
    _norm(state, f"{name}.self_attn_layer_norm", weights, f"{attention}/layer_norm")
    _split(state, f"{name}.self_attn", ("q", "k", "v"), weights, f"{attention}/linear_0")
    _linear(state, f"{name}.self_attn.out_proj", weights, f"{attention}/linear_1")
    if f"{source}/attention/linear_0/weight" in weights:
        _norm(state, f"{name}.encoder_attn_layer_norm", weights, f"{source}/attention/layer_norm")
        _split(state, f"{name}.encoder_attn", ("q",), weights, f"{source}/attention/linear_0")
        _split(state, f"{name}.encoder_attn", ("k", "v"), weights, f"{source}/attention/linear_1")
        _linear(state, f"{name}.encoder_attn.out_proj", weights, f"{source}/attention/linear_2")
    _norm(state, f"{name}.final_layer_norm", weights, f"{source}/ffn/layer_norm")
    for i in range(2):
        _linear(state, f"{name}.fc{i + 1}", weights, f"{source}/ffn/linear_{i}")


def _norm(state: dict[str, Tensor], name: str, weights: Mapping[str, Tensor], source: str) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = weights[f"{source}/gamma"], weights[f"{source}/beta"]


def _linear(state: dict[str, Tensor], name: str, weights: Mapping[str, Tensor], source: str) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = weights[f"{source}/weight"], weights[f"{source}/bias"]


def _split(
    state: dict[str, Tensor], name: str, parts: Sequence[str], weights: Mapping[str, Tensor], source: str
) -> None:
    """The matrices of several projections from one. Whisper's keys have no bias."""
    for kind in ("weight", "bias"):
        for part, value in zip(parts, weights[f"{source}/{kind}"].chunk(len(parts)), strict=True):
            if (part, kind) != ("k", "bias"):
                state[f"{name}.{part}_proj.{kind}"] = value.clone()
