"""Published Whisper models: our numbers equal those of the library that they come from."""

import copy
import json
import math
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.published
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from fourfold import Run  # noqa: E402
from fourfold.adapters import adapter_of, open_published  # noqa: E402
from fourfold.core import GenerativeModel  # noqa: E402
from fourfold.engine import load_model, save_model  # noqa: E402
from fourfold.spaces import (  # noqa: E402
    Lines,
    Tokenizer,
)
from fourfold_speech.ctranslate import TranslatedWhisper  # noqa: E402
from fourfold_speech.transcription import beam_search, transcribe  # noqa: E402

SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|transcribe|>",
    "<|notimestamps|>",
    "<|0.00|>",
)
LEARNED = "press one or two then please hold the line and press three " * 40


def folder_of(path: Path) -> Path:
    """A small random Whisper model of ``transformers`` that hears two seconds."""
    path.mkdir()
    tokenizer = tokenizers.Tokenizer.from_str(Tokenizer.learn(LEARNED, 290).file)
    tokenizer.add_special_tokens(list(SPECIAL))
    (path / "tokenizer.json").write_text(tokenizer.to_str())
    count = tokenizer.get_vocab_size()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.WhisperConfig(
            vocab_size=count,
            num_mel_bins=80,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_source_positions=100,
            max_target_positions=24,
            init_std=0.4,
            pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
            bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
            eos_token_id=tokenizer.token_to_id("<|endoftext|>"),
            decoder_start_token_id=tokenizer.token_to_id("<|startoftranscript|>"),
            begin_suppress_tokens=[6],
        )
        transformers.WhisperForConditionalGeneration(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> GenerativeModel:
    adapter = adapter_of(folder)
    assert adapter is not None
    assert not adapter.trains
    return open_published(folder)


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return (3000 * torch.randn(n, generator=torch.Generator().manual_seed(seed))).to(torch.int16)


def features(net: Any, sound: torch.Tensor) -> torch.Tensor:
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    return extractor(sound.numpy() / 32768, sampling_rate=16000, return_tensors="pt").input_features


def test_the_log_probability_equals_the_loss_of_the_library(model: GenerativeModel) -> None:
    space, net = model.space, model.estimand.net
    assert isinstance(space, Lines)
    texts = ["press one", "please hold the line", ""]
    x = space.parse(texts)
    for i, ids in enumerate(x):
        sound = noise(9000 + 3000 * i, i)
        score = model.log_prob(ids[None], sound)
        text = ids[ids != space.end].tolist()
        labels = torch.tensor([[-100] * (len(net.prompt) - 1) + text + [space.end]])
        given = torch.tensor([[*net.prompt, *text]])
        loss = net.inner(features(net, sound), decoder_input_ids=given, labels=labels).loss
        assert float(score.nats) == pytest.approx(-float(loss.detach()) * (len(text) + 1), abs=1e-4)
        assert score.kind.value == "lower_bound"  # of the text, which tokens write in many ways: this is one of them


@torch.no_grad()
def test_tokens_come_one_by_one_as_they_are_scored(model: GenerativeModel) -> None:
    space, estimand, sound = model.space, model.estimand, noise(20000)
    x = space.parse(["press two then hold"])
    whole = estimand(x, sound[None])[0]
    state = estimand.begin(1, sound[None])
    for i, token in enumerate(x[0][: int((x != space.end).sum()) + 1]):
        step = estimand.log_probs(state)
        assert float(step[0, token]) == pytest.approx(float(whole[i]), abs=1e-4)
        estimand.take(state, token[None])
        state = state.select(torch.tensor([0, 0])).select(torch.tensor([1]))


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_the_search_is_as_good_as_that_of_the_library(model: GenerativeModel, seed: int) -> None:
    space, net, sound = model.space, model.estimand.net, noise(24000, seed)
    never = list(net.never)
    best = beam_search(model, sound, beams=4)[0]
    theirs = transformers.generation.GenerationMixin.generate(
        net.inner,
        features(net, sound),
        decoder_input_ids=torch.tensor([net.prompt]),
        num_beams=4,
        length_penalty=0.0,
        max_new_tokens=space.text.length - 1,
        suppress_tokens=never,
        do_sample=False,
    )[0].tolist()[len(net.prompt) :]
    text = theirs[: theirs.index(space.end)] if space.end in theirs else theirs
    ended = float(model.log_prob(row_of(model, text), sound).nats)
    assert best.log_prob >= ended - 1e-4
    again = float(model.log_prob(row_of(model, best.ids), sound).nats)
    assert best.log_prob == pytest.approx(again, abs=1e-4)


def test_it_samples_is_saved_and_transcribes_what_is_longer(
    model: GenerativeModel, folder: Path, tmp_path: Path
) -> None:
    x = model.sample(3, noise(8000), seed=1)
    model.space.check(x)
    save_model(model, tmp_path / "run")
    again = load_model(tmp_path / "run")
    assert torch.allclose(again.log_prob(x, noise(8000)).nats, model.log_prob(x, noise(8000)).nats, atol=1e-4)
    transcript = transcribe(model, noise(70000), beams=2)
    assert len(transcript.segments) >= 3
    assert transcript.segments[-1].end == pytest.approx(70000 / 16000, abs=0.02)
    assert Run.load(folder).model.space == model.space


# --- CTranslate2 ------------------------------------------------------------------------------------------------------


def converted(folder: Path, target: Path, kind: str = "<f4", version: int = 6, end: int | None = None) -> Path:
    """The same model as a folder of CTranslate2."""
    state = {name: v.numpy() for name, v in open_published(folder).estimand.net.inner.state_dict().items()}
    arrays: dict[str, np.ndarray] = {"decoder/num_heads": np.array(2, np.int16)}

    def put(name: str, *sources: str) -> None:
        for part, ours in (("weight", "weight"), ("bias", "bias")):
            rows = [
                state.get(f"{source}.{part}", np.zeros(len(state[f"{source}.weight"]), np.float32))
                for source in sources
            ]
            arrays[f"{name}/{ours}"] = np.concatenate(rows)

    def norm(name: str, source: str) -> None:
        arrays[f"{name}/gamma"], arrays[f"{name}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    for side in ("encoder", "decoder"):
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        arrays[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        for i in range(2):
            ours, theirs = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            norm(f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm")
            put(f"{ours}/self_attention/linear_0", *(f"{theirs}.self_attn.{p}_proj" for p in "qkv"))
            put(f"{ours}/self_attention/linear_1", f"{theirs}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{ours}/attention/layer_norm", f"{theirs}.encoder_attn_layer_norm")
                put(f"{ours}/attention/linear_0", f"{theirs}.encoder_attn.q_proj")
                put(f"{ours}/attention/linear_1", *(f"{theirs}.encoder_attn.{p}_proj" for p in "kv"))
                put(f"{ours}/attention/linear_2", f"{theirs}.encoder_attn.out_proj")
            norm(f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm")
            put(f"{ours}/ffn/linear_0", f"{theirs}.fc1")
            put(f"{ours}/ffn/linear_1", f"{theirs}.fc2")
    put("encoder/conv1", "model.encoder.conv1")
    put("encoder/conv2", "model.encoder.conv2")
    arrays["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    target.mkdir()
    types = {"<f4": 0, "<f2": 4, "<i2": 2}
    with (target / "model.bin").open("wb") as file:
        file.write(struct.pack("<IH", version, 12) + b"WhisperSpec\0" + struct.pack("<II", 3, len(arrays)))
        for name, value in arrays.items():
            form = kind if value.dtype == np.float32 else "<i2"
            content = value.astype(form).tobytes()
            file.write(struct.pack("<H", len(name) + 1) + name.encode() + b"\0" + struct.pack("<B", value.ndim))
            file.write(struct.pack(f"<{value.ndim}I", *value.shape) + struct.pack("<BI", types[form], len(content)))
            file.write(content)
        file.write(struct.pack("<I", 0))
        if end is not None:
            file.truncate(end)
    (target / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    settings = {"alignment_heads": [[1, 0]], "lang_ids": [], "suppress_ids": [5], "suppress_ids_begin": [6]}
    (target / "config.json").write_text(json.dumps(settings))
    return target


@pytest.mark.parametrize(("kind", "error"), [("<f4", 1e-5), ("<f2", 0.1)])
def test_a_folder_of_ctranslate2_is_the_same_model(
    model: GenerativeModel, folder: Path, tmp_path: Path, kind: str, error: float
) -> None:
    path = converted(folder, tmp_path / "ct2", kind)
    assert adapter_of(path) is not None
    other = open_published(path)
    x, sound = model.space.parse(["press one", "hold"]), noise(9000)
    assert torch.allclose(other.log_prob(x, sound).nats, model.log_prob(x, sound).nats, atol=error)
    assert 5 in other.estimand.net.never
    assert other.estimand.net.not_first == (6,)


@pytest.fixture(scope="module")
def translated(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as CTranslate2 itself converts it."""
    library = pytest.importorskip("ctranslate2")
    path = tmp_path_factory.mktemp("translated") / "model"
    library.converters.TransformersConverter(str(folder)).convert(str(path))
    (path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    return path


def test_ctranslate2_encodes_and_searches_as_the_network_does(model: GenerativeModel, translated: Path) -> None:
    other = open_published(translated)
    net = other.estimand.net
    net.translated = TranslatedWhisper(translated, "float32")
    for seed in range(3):
        x, sound = model.space.parse(["press one"]), noise(24000, seed)
        with torch.no_grad():
            assert torch.allclose(
                net.encode(sound[None]).features, model.estimand.net.encode(sound[None]).features, atol=1e-3
            )
        assert torch.allclose(other.log_prob(x, sound).nats, model.log_prob(x, sound).nats, atol=1e-3)
        text, ours = beam_search(other, sound, beams=4)[0], beam_search(model, sound, beams=4)[0]
        assert text.log_prob < ours.log_prob + 1e-3  # ours weighs an end at every token
        assert text.log_prob == pytest.approx(float(model.log_prob(row_of(model, text.ids), sound).nats), abs=1e-3)
        with torch.no_grad():
            assert beam_search(other, sound, beams=1)[0].ids[:8] == greedy(model, sound, 8)


def row_of(model: GenerativeModel, ids: Sequence[int]) -> torch.Tensor:
    row = torch.full((1, model.space.text.length), model.space.end)
    row[0, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return row


def greedy(model: GenerativeModel, sound: torch.Tensor, count: int) -> tuple[int, ...]:
    """The likeliest first token, then the likeliest after it, and so on."""
    estimand, net = model.estimand, model.estimand.net
    state, ids = estimand.begin(1, sound[None]), []
    for i in range(count):
        log_p = estimand.log_probs(state)[0]
        log_p[[*net.never, *(() if i else net.not_first)]] = -math.inf
        ids.append(int(log_p.argmax()))
        estimand.take(state, torch.tensor(ids[-1:]))
    return tuple(ids)


def test_suppressed_ids_outside_of_the_vocabulary_are_refused(translated: Path, tmp_path: Path) -> None:
    path = shutil.copytree(translated, tmp_path / "outside")
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**settings, "suppress_ids_begin": [220, 50256]}))
    with pytest.raises(ValueError, match=r"outside: .*50256"):
        open_published(path)


def test_training_lets_go_of_ctranslate2_and_8_bits_change_little(model: GenerativeModel, translated: Path) -> None:
    other = open_published(translated)
    x, sound = model.space.parse(["press one or two", "hold"]), noise(24000)
    nats = model.log_prob(x, sound).nats
    assert 0 < float((other.log_prob(x, sound).nats - nats).abs().max()) < 0.02 * float(nats.abs().max())
    trained = copy.deepcopy(other)
    trained.estimand(x, sound.expand(2, -1)).sum().backward()
    assert trained.estimand.net.translated is None
    assert any(p.grad is not None for p in trained.estimand.net.inner.model.encoder.parameters())
    assert other.estimand.net.translated is not None


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cut: .*ends within|model.bin ends within"):
        open_published(converted(folder, tmp_path / "cut", end=20000))
    with pytest.raises(ValueError, match="must be a WhisperSpec of version 6"):
        open_published(converted(folder, tmp_path / "old", version=5))
    with pytest.raises(ValueError, match=r"language must be one of de, en, .*got 'fr'"):
        open_published(folder, {"language": "fr"})
    assert open_published(folder, {"language": "de"}).estimand.net.prompt != open_published(folder).estimand.net.prompt
    with pytest.raises(ValueError, match="length must be left out for a Whisper model, which has language"):
        open_published(folder, {"length": 8})
    from fourfold_speech.whisper import open_whisper

    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="must be a Whisper model, got one of type 'gpt2'"):
        open_whisper(other)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ValueError, match=r"must hold a tokenizer.json"):
        open_published(bare)
    (bare / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(ValueError, match=r"must hold .safetensors"):
        open_published(bare)
