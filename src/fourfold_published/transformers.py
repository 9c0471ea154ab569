"""Causal language models of Hugging Face's ``transformers``: opened as models of this library, and written for theirs.

Their network sits in the seat of :class:`~fourfold.nn.transformer.TokenTransformer`, so everything that a text model
does here works for them: exact scores, streams of windows, prompts, comparison with models that were trained here.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from fourfold.adapters.checks import check_folder, check_layers, check_size, plain_settings, settings_of
from fourfold.adapters.reading import check_tensors, file_of_tokenizer, imported, naming, quiet
from fourfold.codecs import TextTokens
from fourfold.core import GenerativeModel, Training
from fourfold.core.header import Header, read_header
from fourfold.machine.regular import json_object
from fourfold.nn.transformer import NextToken, TokenTransformer
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.spaces import Text, Tokenizer
from fourfold.spaces.tokenizer import letters_of_bytes
from fourfold_published import llama, rounded
from fourfold_published.gguf import is_gguf, keep, keep_tokenizer, kept_ids, read_once, source, source_of_tokenizer
from fourfold_published.likelihood import NotedChainRule
from fourfold_published.rounded import round_linear

__all__ = [
    "PublishedTransformer",
    "open_language_model",
    "open_tokenizer",
    "published_tokenizer",
    "write_language_model",
]

START = "<|start|>"
"""The symbol that begins a text in a folder that is written here."""
WEIGHTS = ("float32", "int8", "file")
"""The weights that a published model is opened with."""
PADDING = 1024
"""Tokens that a network may have beyond those of its tokenizer, however few these are."""
WINDOW = 256
"""Tokens of a window, where nothing else is asked for."""


@final
class _Past:
    """Keys and values of the positions seen so far, as the other library keeps them."""

    def __init__(self, config: Any) -> None:
        self._config, self._revocable = config, False
        self.clear()

    def select(self, rows: Tensor) -> _Past:
        """A copy of some rows ``(B',)``, in that order."""
        past = _Past(self._config)
        past.values, past.position = copy.deepcopy(self.values), self.position
        past.values.batch_select_indices(rows)
        return past

    def clear(self) -> None:
        """Forget every position."""
        self.values, self.position = imported("transformers").DynamicCache(config=self._config), 0
        if self._revocable:
            self._keep_more()

    def forget(self, count: int) -> None:
        """Forget the newest positions. A cache of a sliding window is prepared for it by the first call."""
        if not self._revocable:
            self._revocable = True
            self._keep_more()
        if self.position:
            self.values.crop(-count)
        self.position -= count

    def _keep_more(self) -> None:
        """Let layers with a sliding window keep what has left it, until it is known what is forgotten."""
        for layer in self.values.layers:
            if hasattr(layer, "activate_past_recording"):
                layer.activate_past_recording()


@final
class PublishedTransformer(NextToken):
    """Next-token logits of a causal language model of ``transformers``.

    Ids from ``tokens`` on stand for the symbol that begins a text.

    Args:
        config: the content of its ``config.json``.
        length: the longest input, start symbol included.
        start: id of the symbol that begins a text.
        lora: rank of the matrices that are added to those of the linear layers and trained instead of them (Hu et al.
            2021, https://arxiv.org/abs/2106.09685); ``None``: there are none, and all is trained.
        weights: ``float32``, or ``int8``: linear layers are rounded (:mod:`fourfold_published.rounded`).
    """

    for_adamw: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: str, length: int, start: int, lora: int | None = None, weights: str = "float32") -> None:
        super().__init__()
        transformers, settings = imported("transformers"), plain_settings(json.loads(config))
        about = transformers.AutoConfig.for_model(**settings)
        self.inner = transformers.AutoModelForCausalLM.from_config(about, dtype=torch.float32)
        self.inner = self.inner if lora is None else _with_lora(self.inner, lora)
        self.inner = round_linear(self.inner) if weights == "int8" else self.inner
        self.weights = weights
        self.tokens, self.length, self.start = int(self.inner.get_input_embeddings().num_embeddings), length, start

    def cache(self, batch: int) -> _Past:
        """An empty cache."""
        return _Past(self.inner.config)

    def forward(self, ids: Tensor, cache: _Past | None = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``, float32.

        Raises:
            ValueError: if the positions do not fit into ``length``.
        """
        return self._logits(ids, cache)

    def read(self, ids: Tensor, cache: _Past) -> None:
        last = {"logits_to_keep": 1} if "logits_to_keep" in self._parameter_names else {}
        self._logits(ids, cache, **last)

    def _logits(self, ids: Tensor, cache: _Past | None, **options: Any) -> Tensor:
        start = 0 if cache is None else cache.position
        if start + ids.shape[1] > self.length:
            raise ValueError(f"positions must fit into a context of {self.length}, got {start} + {ids.shape[1]}")
        ids = ids.masked_fill(ids >= self.tokens, self.start)
        if cache is None:
            return torch.as_tensor(self.inner(input_ids=ids, use_cache=False).logits).float()
        logits = self.inner(input_ids=ids, use_cache=True, **{self._cache_argument: cache.values}, **options).logits
        cache.position = start + ids.shape[1]
        return torch.as_tensor(logits).float()

    @functools.cached_property
    def _cache_argument(self) -> str:
        """The name under which this version of the library takes a cache."""
        return "cache" if "cache" in self._parameter_names else "past_key_values"

    @functools.cached_property
    def _parameter_names(self) -> frozenset[str]:
        """The arguments of the network's evaluation."""
        return frozenset(inspect.signature(self.inner.forward).parameters)


def _with_lora(inner: Any, rank: int) -> Any:
    """A network with low-rank matrices beside those of its linear layers, which alone are trained.

    Raises:
        ValueError: where the library is not installed, or for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"lora must be at least 1, got {rank}")
    try:
        import peft  # an optional library
    except ImportError:
        raise ValueError("lora needs the extra 'hf': pip install '.[hf]' in its clone") from None
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the two libraries' versions of each other
        return peft.get_peft_model(inner, settings)


# --- opening ----------------------------------------------------------------------------------------------------------


def open_language_model(
    path: Path, length: int | None = None, lora: int | None = None, weights: str | None = None
) -> GenerativeModel:
    """A folder or a GGUF file of a causal language model, with its tokenizer, as a generative model.

    Args:
        path: the folder, which holds ``config.json`` and ``*.safetensors``, or the file.
        length: tokens in one window.
        lora: rank of the matrices that training adds, see :class:`PublishedTransformer`.
        weights: ``float32``, or ``int8``: linear layers are rounded, which makes another model of it. ``file``: those
            of a GGUF file as they are, computed by llama.cpp, by default where that is installed and nothing is tuned.

    Raises:
        ValueError: for an unknown kind of weights, other files than safetensors, missing, extra or misshapen tensors,
            code of its own, no tokenizer, or a window longer than the context.
    """
    usual = "file" if is_gguf(path) and lora is None and llama.is_installed() else "float32"
    weights = weights or usual
    if weights not in WEIGHTS or (weights == "file" and not is_gguf(path)):
        names = WEIGHTS if is_gguf(path) else WEIGHTS[:-1]
        raise ValueError(f"weights must be {' or '.join(names)}, got {weights!r}")
    if weights == "file":
        return _open_file(path, length)
    with read_once(path):
        inner, library_tokenizer, tokenizer = _loaded(path)
    config = inner.config
    context = int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 20)
    window = _window(path, length, context)
    embedded = int(inner.get_input_embeddings().num_embeddings)
    if path.is_dir():  # a file is of one model
        _check_tokenizer(path, library_tokenizer, tokenizer, config, embedded)
    start = _start(path, library_tokenizer, embedded)
    with torch.device("meta"):
        net = PublishedTransformer(json.dumps(_plain(config)), context, start, lora, weights)
    net.inner = inner if lora is None else _with_lora(inner, lora)
    if weights == "int8":
        net.inner = round_linear(inner.requires_grad_(False))
    training = Training(batch_size=8, learning_rate=2e-5 if lora is None else 5e-4, muon_rate=None)
    note = rounded.NOTE if weights == "int8" else ""
    return _model(net, Text("", window, tokenizer=tokenizer), training, note)


def _open_file(path: Path, length: int | None) -> GenerativeModel:
    """A GGUF file as llama.cpp computes it, with the tokenizer that the other library reads in it.

    Raises:
        ValueError: as :func:`open_language_model`.
    """
    weights = llama.opened(str(path.absolute()))
    place = source_of_tokenizer(path)
    try:
        ids, tokenizer = kept_ids(place), _parsed_tokenizer(place)
    except (ValueError, OSError):  # there is no cache, or a damaged one
        with read_once(path):
            ids = open_tokenizer(path)
            tokenizer = _parsed_tokenizer(path, ids)
        keep_tokenizer(path, ids)
    window = _window(path, length, weights.context)
    net = llama.LlamaTransformer(str(path.absolute()), weights.context, _start(path, ids, weights.tokens))
    return _model(net, Text("", window, tokenizer=tokenizer), Training(), llama.NOTE)


def _window(path: Path, length: int | None, context: int) -> int:
    """The tokens of one window: as many as are asked for.

    Raises:
        ValueError: for more than the context.
    """
    if length is not None and length > context:
        raise ValueError(f"{path}: length must be at most its context of {context} tokens, got {length}; shorten it")
    return length or min(WINDOW, context)


def _start(path: Path, ids: Any, tokens: int) -> int:
    """The id of the symbol that begins a text, or else of the one that ends it.

    Raises:
        ValueError: where there is neither.
    """
    start = next((i for i in (ids.bos_token_id, ids.eos_token_id) if i is not None and i < tokens), None)
    if start is None:
        raise ValueError(f"{path}: its tokenizer has no symbol that begins a text: add a bos_token to it")
    return int(start)


def _model(net: NextToken, space: Text, training: Training, note: str) -> GenerativeModel:
    """A network of next-token logits as a model of text. The note says how it is computed."""
    assert space.window is not None
    estimand, likelihood = TokenConditionals(net, space.window), NotedChainRule(note) if note else ChainRule()
    parts = (space, TextTokens(space), estimand, MaximumLikelihood(), Ancestral(), likelihood, training)
    return GenerativeModel(*parts).eval()


def _check_tokenizer(path: Path, library_tokenizer: Any, tokenizer: Tokenizer, config: Any, embedded: int) -> None:
    """Refuse a tokenizer that is another model's, where sizes or ids show it.

    Much that looks wrong is not: tables of tokens are padded, configurations keep the ids that their class has by
    default, one of the two ids may mean nothing, and a token may be renamed in one file alone. Another tokenizer of
    about the same size is not distinguished from the right one.

    Raises:
        ValueError: with what does not fit.
    """
    two, gap = "they are of two models, so put the right tokenizer into the folder", embedded - tokenizer.count
    if gap < 0 or (gap > PADDING and tokenizer.count < 0.75 * embedded):
        raise ValueError(f"{path}: its tokenizer has {tokenizer.count:,} tokens and its network {embedded:,}: {two}")
    usual = config if getattr(config, "has_no_defaults_at_init", False) else type(config)()
    is_declared: dict[int, bool] = {}  # by the configuration, or by its class
    for name in ("bos_token_id", "eos_token_id"):
        number = getattr(config, name, None)
        ids = number if isinstance(number, list) else [number]
        is_declared |= {
            i: number != getattr(usual, name, None) for i in ids if isinstance(i, int) and 0 <= i < embedded
        }
    if any(is_declared.values()) and not is_declared.keys() & {*library_tokenizer.all_special_ids, *tokenizer.added}:
        token = next(i for i in is_declared if is_declared[i])
        means = (
            f"is {tokenizer.name(token)!r} in its tokenizer"
            if token < tokenizer.count
            else "its tokenizer does not have"
        )
        raise ValueError(f"{path}: config.json begins or ends a text with token {token}, which {means}: {two}")
    names: Any = json_object(path / "tokenizer_config.json").get("added_tokens_decoder", {})
    foreign = [i for i in names if int(i) < tokenizer.count and tokenizer.name(int(i)) != names[i]["content"]]
    if 2 * len(foreign) > len(names):
        here, there = names[foreign[0]]["content"], tokenizer.name(int(foreign[0]))
        raise ValueError(
            f"{path}: token {foreign[0]} is {here!r} in tokenizer_config.json and {there!r} in tokenizer.json: {two}"
        )


def _plain(config: Any) -> dict[str, Any]:
    """A configuration as a JSON value, without what only names a file or a version."""
    drop = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "quantization_config")
    return {key: value for key, value in config.to_dict().items() if key not in drop}


def open_tokenizer(path: Path) -> Any:
    """The library's tokenizer of a folder or a GGUF file.

    Raises:
        ValueError: if there is none that can be read.
    """
    folder, file = _address(path)
    with naming(path), quiet():
        return imported("transformers").AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **file
        )


def published_tokenizer(path: Path | str, tokenizer: Any = None) -> str:
    """The content of the ``tokenizer.json`` of a published model.

    Args:
        path: its folder or GGUF file.
        tokenizer: its tokenizer, if the library has opened it already, which takes long.

    Raises:
        ValueError: where it has none that can be read.
    """
    path = source_of_tokenizer(Path(path))
    if (path / "tokenizer.json").is_file():
        return file_of_tokenizer(path)
    if tokenizer is None:
        tokenizer = open_tokenizer(path)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ValueError(f"{path}: its tokenizer is not one of the library 'tokenizers': convert it to tokenizer.json")
    return str(tokenizer.backend_tokenizer.to_str())


def _address(path: Path) -> tuple[Path, dict[str, str]]:
    """The folder of a model and the argument that names its GGUF file: in full, as the library forgets its folder."""
    path = path.absolute()
    return (path.parent, {"gguf_file": str(path)}) if is_gguf(path) else (path, {})


def _loaded(path: Path) -> tuple[Any, Any, Tokenizer]:
    """Network, tokenizer and its file. Of a GGUF file from the cache, which is filled where it is not.

    The cache keeps only those ids of the library's tokenizer that begin or end a text.
    """
    place = source(path)
    if place != path:
        try:
            return _network(place), kept_ids(place), _parsed_tokenizer(place)
        except (ValueError, OSError):  # the cache is damaged
            shutil.rmtree(place, ignore_errors=True)
    inner, library_tokenizer = _network(path), open_tokenizer(path)
    tokenizer = _parsed_tokenizer(path, library_tokenizer)
    if is_gguf(path):
        keep(path, inner, library_tokenizer, _plain(inner.config))
    return inner, library_tokenizer, tokenizer


def _parsed_tokenizer(path: Path, library_tokenizer: Any = None) -> Tokenizer:
    """The tokenizer's file, which is parsed here, so that a damaged one is refused."""
    tokenizer = Tokenizer(published_tokenizer(path, library_tokenizer))
    with naming(path):
        tokenizer.count  # noqa: B018
    return tokenizer


def _network(path: Path) -> Any:
    """The network in float32, from files alone."""
    transformers, gguf = imported("transformers"), is_gguf(path)
    folder, file = _address(path)
    arguments = {"local_files_only": True, "trust_remote_code": False, **file}
    if not gguf:
        _check_folder(path)
    with naming(path), quiet():
        header = _gguf_header(path) if gguf else read_header(path)
        if gguf:
            config = transformers.AutoConfig.from_pretrained(folder, **arguments)
        else:
            config = transformers.AutoConfig.for_model(**plain_settings(settings_of(path / "config.json")))
        check_layers(int(getattr(config, "num_hidden_layers", 0) or 0), header)
    with quiet():
        check_size(path, header, lambda: transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32))
    with naming(path), quiet():
        safe = {} if gguf else {"use_safetensors": True}
        inner, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **arguments,
            **safe,
        )
    check_tensors(path, report)
    return inner.eval().requires_grad_(True)


def _gguf_header(path: Path) -> Header:
    """The names and shapes of a GGUF file, which has as many blocks as its tensors may be of.

    Raises:
        ValueError: for more blocks.
    """
    reader = imported("gguf").GGUFReader(str(path.absolute()))
    header = Header({tensor.name: tuple(map(int, tensor.shape)) for tensor in reader.tensors}, {})
    for name, field in reader.fields.items():
        if name.endswith(".block_count"):
            check_layers(int(field.contents()), header)
    return header


def _check_folder(path: Path) -> None:
    """Refuse a folder that needs foreign code or unpickling, with the way out."""
    check_folder(path)
    config = settings_of(path / "config.json")
    if (
        "auto_map" in config
        and config.get("model_type") not in imported("transformers").models.auto.configuration_auto.CONFIG_MAPPING
    ):
        raise ValueError(f"{path}: its network is code of its own, which is not run here: give a model of transformers")
    if not any(path.glob("*.safetensors")):
        pickled = next((file.name for file in sorted([*path.glob("*.bin"), *path.glob("*.pt")])), None)
        way = "save it again with save_pretrained" if pickled else "fetch its weights"
        fault = f"its weights, {pickled}, are pickled, and could run code" if pickled else "holds no .safetensors"
        raise ValueError(f"{path}: {fault}: {way}")


# --- writing ----------------------------------------------------------------------------------------------------------


def write_language_model(model: GenerativeModel, folder: Path | str) -> Path:
    """Write a text model that was trained here as a folder that ``transformers`` opens, with equal logits.

    Its blocks are those of GPT-NeoX with normalisations that scale by one. The bias of the head, which GPT-NeoX does
    not have, moves into its final normalisation: normalised features sum to zero, so a column that is the same for all
    of them adds nothing but the bias. The start symbol becomes the token ``<|start|>``, which has no mass.

    Raises:
        TypeError: for a model of something else than text.
        ValueError: if the folder cannot be written.
    """
    estimand = model.estimand
    if not isinstance(estimand, TokenConditionals):
        raise TypeError(f"the model must be of text to be written here, got one of {type(model.space).__name__}")
    folder = Path(folder)
    net = estimand.net
    if not isinstance(net, (PublishedTransformer, TokenTransformer)):
        raise TypeError(
            f"the network must be a transformer to be written for transformers, got {type(net).__name__}; "
            "train autoregressive/likelihood"
        )
    if isinstance(net, PublishedTransformer) and net.weights == "int8":
        raise TypeError("weights must be float32 to be written, got int8: open the model without rounding")
    with quiet():
        whole = net.inner if isinstance(net, PublishedTransformer) else _neox(net)
        merged = copy.deepcopy(whole).merge_and_unload() if hasattr(whole, "merge_and_unload") else whole
        merged.save_pretrained(folder)
    assert isinstance(model.space, Text)  # token conditionals are of texts
    (folder / "tokenizer.json").write_text(_tokenizer_of(model.space), encoding="utf-8")
    start = (
        model.space.tokenizer.name(net.start)
        if isinstance(net, PublishedTransformer) and model.space.tokenizer
        else START
    )
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "bos_token": start}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return folder


@torch.no_grad()
def _neox(net: TokenTransformer) -> Any:
    """The network as a GPT-NeoX."""
    transformers, trunk = imported("transformers"), net.trunk
    blocks = trunk.typed_blocks()
    config = transformers.GPTNeoXConfig(
        vocab_size=net.tokens + 1,
        hidden_size=trunk.width,
        num_hidden_layers=len(blocks),
        num_attention_heads=trunk.heads,
        intermediate_size=blocks[0].up.shape[0],
        max_position_embeddings=net.length,
        hidden_act="gelu",
        rotary_pct=1.0,
        use_parallel_residual=False,
        bos_token_id=net.tokens,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    network = transformers.GPTNeoXForCausalLM(config)
    for name, value in network.named_parameters():
        value.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    inner, heads, width = network.gpt_neox, trunk.heads, trunk.width
    inner.embed_in.weight.copy_(net.embedding.weight[: net.tokens + 1])
    for block, layer in zip(blocks, inner.layers, strict=True):
        qkv = block.qkv.view(3, heads, width // heads, width).transpose(0, 1)
        layer.attention.query_key_value.weight.copy_(qkv.reshape(3 * width, width))
        layer.attention.dense.weight.copy_(block.out)
        layer.mlp.dense_h_to_4h.weight.copy_(block.up)
        layer.mlp.dense_4h_to_h.weight.copy_(block.down)
    inner.final_layer_norm.bias.fill_(1.0)
    weight = torch.cat([net.head.weight, net.head.weight.new_zeros(1, width)])
    bias = torch.cat([net.head.bias, net.head.bias.new_full((1,), -1e4)])
    network.get_output_embeddings().weight.copy_(weight + ((bias - weight.sum(1)) / width)[:, None])
    return network


def _tokenizer_of(space: Text) -> str:
    """The tokenizer of a space as the content of a ``tokenizer.json``, with ``<|start|>`` behind its tokens."""
    import tokenizers  # an optional library

    if space.tokenizer is not None:
        tokenizer = tokenizers.Tokenizer.from_str(space.tokenizer.file)
    elif space.vocabulary:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(space.vocabulary)}, []))
        tokenizer.decoder = tokenizers.decoders.Fuse()
    else:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(letters_of_bytes())}, []))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if tokenizer.token_to_id(START) is None and tokenizer.get_vocab_size() == space.tokens:
        tokenizer.add_special_tokens([START])
    return str(tokenizer.to_str())
