"""Published language models: the library's own loss is the oracle, and its own models are the data."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from small_gguf import QWEN2, TEXT, write_gguf

from fourfold import Run, build, fit
from fourfold.adapters import adapter_of, open_published
from fourfold.spaces import Text, Tokenizer
from fourfold.tasks.language import score_text, stream
from fourfold_published import llama
from fourfold_published.gguf import source
from fourfold_published.rounded import LARGE, Linear8, to_int8
from fourfold_published.transformers import published_tokenizer, write_language_model

pytestmark = pytest.mark.published
transformers = pytest.importorskip("transformers")


def _save(folder, config, **changes):
    torch.manual_seed(0)
    tokenizer = Tokenizer.learn(TEXT, 300)
    model = getattr(transformers, config[0])(config[1])
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.file, encoding="utf-8")
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|end|>", "eos_token": "<|end|>"} | changes
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return model.eval()


GPT2 = transformers.GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=0)
LLAMA = transformers.LlamaConfig(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    tie_word_embeddings=True,
)


@pytest.mark.parametrize("config", [("GPT2LMHeadModel", GPT2), ("LlamaForCausalLM", LLAMA)], ids=["gpt2", "llama"])
def test_scores_are_the_library_s_own_loss(tmp_path, config):
    theirs = _save(tmp_path, config)
    assert adapter_of(tmp_path) is not None
    model = open_published(tmp_path, {"length": 48})
    ids = model.space.ids(TEXT).long()[: 5 * 48].view(5, 48)
    start = torch.zeros(5, 1, dtype=torch.long)
    labels = torch.cat([torch.full_like(start, -100), ids], 1)
    with torch.no_grad():
        loss = theirs(input_ids=torch.cat([start, ids], 1), labels=labels).loss
    scored = model.log_prob(ids)
    assert scored.kind == "lower_bound"
    assert "one tokenisation of the text" in scored.note
    assert -scored.nats.sum().item() / ids.numel() == pytest.approx(loss.item(), abs=1e-4)


def test_samples_have_the_distribution_that_is_scored(tmp_path):
    _save(tmp_path, ("GPT2LMHeadModel", GPT2))
    model = open_published(tmp_path, {"length": 4})
    x = model.sample(2000, seed=1)
    with torch.no_grad():
        logits = model.estimand.net(torch.zeros(1, 1, dtype=torch.long))[0, -1]
    expected = logits.softmax(0)
    seen = torch.bincount(x[:, 0], minlength=len(expected)) / len(x)
    assert (seen - expected).abs().max() < 5 * (expected.max() / len(x)).sqrt()


def test_a_long_text_is_scored_and_continued_beyond_the_context(tmp_path):
    _save(tmp_path, ("GPT2LMHeadModel", GPT2))
    model = open_published(tmp_path)
    ids = model.space.ids(TEXT).long()[:300]
    assert torch.isfinite(score_text(model, ids)).all()
    drawn = list(itertools.islice(stream(model, ids[:90].tolist(), n=2), 100))
    assert torch.stack(drawn, 1).shape == (2, 100)


def test_a_prompt_gives_the_same_next_token_as_a_whole_evaluation(tmp_path):
    _save(tmp_path, ("LlamaForCausalLM", LLAMA))
    model = open_published(tmp_path)
    ids = model.space.ids(TEXT).long()[None, :20]
    state = model.estimand.prompt(model.estimand.begin(1), ids)
    with torch.no_grad():
        cached = model.estimand.net(state.last, state.cache)[:, -1]
        whole = model.estimand.net(torch.cat([torch.zeros(1, 1, dtype=torch.long), ids], 1))[:, -1]
    torch.testing.assert_close(cached, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "space", [Text("", 24), Text("ab cdefghi", 24), Text("", 24, tokenizer=Tokenizer.learn(TEXT, 290))]
)
def test_a_model_trained_here_has_the_same_logits_there(tmp_path, space):
    torch.manual_seed(1)
    model = build("autoregressive", space, size="xs")
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    write_language_model(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    x = space.examples(3, torch.Generator().manual_seed(0))
    ids = torch.cat([torch.full((3, 1), space.tokens), x[:, :-1]], 1)
    with torch.no_grad():
        expected = model.estimand.net(ids).log_softmax(-1)
        log_p = theirs(input_ids=ids).logits.log_softmax(-1)
    torch.testing.assert_close(log_p[..., : space.tokens], expected, atol=1e-4, rtol=1e-4)
    opened = open_published(tmp_path, {"length": 24})
    torch.testing.assert_close(opened.log_prob(x).nats, model.log_prob(x).nats, atol=1e-3, rtol=1e-4)
    text = "abba dig" if space.vocabulary else "Ægir 🙂 it was"
    assert opened.space.parse(text).tolist() == space.parse(text).tolist()


def test_what_cannot_be_opened_is_refused_with_the_way_out(tmp_path):
    whole = tmp_path / "whole"
    _save(whole, ("LlamaForCausalLM", LLAMA))
    weights = (whole / "model.safetensors").read_bytes()

    def refused(words, length=None):
        with pytest.raises(ValueError, match=words) as caught:
            open_published(whole, {"length": length})
        assert "\n" not in str(caught.value)

    refused("at most its context of 64 tokens, got 100", length=100)
    (whole / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused("is damaged, or of a kind that is not read|cannot be opened")
    (whole / "model.safetensors").unlink()
    refused("holds no .safetensors")
    (whole / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    refused("pytorch_model.bin, are pickled")
    (whole / "pytorch_model.bin").unlink()
    from safetensors.torch import load, save

    tensors = load(weights)
    name = "model.layers.1.mlp.up_proj.weight"
    (whole / "model.safetensors").write_bytes(save({k: v for k, v in tensors.items() if k != name}, {"format": "pt"}))
    refused(f"lacks the tensor {name}")
    (whole / "model.safetensors").write_bytes(save(tensors | {"model.extra": torch.zeros(2)}, {"format": "pt"}))
    refused("holds the tensor model.extra")
    (whole / "model.safetensors").write_bytes(weights)
    (whole / "tokenizer.json").write_text(Tokenizer.learn(TEXT * 3 + "".join(map(chr, range(300, 900))), 700).file)
    refused("are of two models")


@pytest.mark.parametrize("lora", [None, 4])
def test_a_published_model_is_tuned_saved_and_written(tmp_path, lora):
    if lora is not None:
        pytest.importorskip("peft")
    whole, text = tmp_path / "whole", tmp_path / "t.txt"
    theirs = _save(whole, ("LlamaForCausalLM", LLAMA))
    text.write_text(TEXT * 4)
    run = fit(
        str(whole),
        text,
        budget="6 steps",
        opening={} if lora is None else {"lora": lora},
        learning_rate=3e-3,
        out=tmp_path / "run",
        data_options={"length": 32},
        precision="float32",
    )
    before, dataset = open_published(whole, {"length": 32}), run.dataset()
    x = dataset.space.rows(dataset.test.x).long()
    assert run.log_prob(x).nats.mean() > before.log_prob(x).nats.mean() + 1
    again = Run.load(tmp_path / "run")
    torch.testing.assert_close(again.log_prob(x).nats, run.log_prob(x).nats)
    moved = [n for n, p in theirs.named_parameters() if not torch.equal(p, _own(again, n, lora))]
    assert bool(moved) == (lora is None)
    write_language_model(run.model, tmp_path / "out")
    written = open_published(tmp_path / "out", {"length": 32})
    torch.testing.assert_close(written.log_prob(x).nats, run.log_prob(x).nats, atol=1e-3, rtol=1e-4)


def _own(run, name, lora):
    parameters = dict(run.model.estimand.net.inner.named_parameters())
    if lora is None:
        return parameters[name]
    head, _, tail = name.rpartition(".")
    return parameters.get(f"base_model.model.{head}.base_layer.{tail}", parameters.get(f"base_model.model.{name}"))


@pytest.mark.parametrize("window", [4, 64], ids=["sliding", "whole"])
def test_positions_of_a_cache_can_be_forgotten(tmp_path, window):
    config = transformers.Gemma3TextConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention"],
    )
    _save(tmp_path, ("Gemma3ForCausalLM", config))
    net = open_published(tmp_path).estimand.net
    ids = torch.randint(300, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = net(ids)
        cache = net.cache(1)
        cache.forget(0)
        parts = [net(ids[:, :9], cache)]
        cache.forget(0)
        net(ids[:, 9:13].flip(1), cache)
        cache.forget(4)
        parts.append(net(ids[:, 9:13], cache))
        cache.forget(0)
        parts.append(net(ids[:, 13:14], cache))
        cache.forget(0)
        parts.append(net(ids[:, 14:], cache))
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=1e-4)


@pytest.fixture
def gguf_file(tmp_path, monkeypatch):
    """A GGUF file in the working directory, the network that it holds, and a list that grows with each reading."""
    gguf = pytest.importorskip("gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)  # where a path without a folder is that of the file
    torch.manual_seed(0)
    theirs = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**QWEN2)).eval()
    monkeypatch.setattr(llama, "is_installed", lambda: False)  # it is tested by itself
    write_gguf(tmp_path / "m.gguf", theirs)
    readings, build = [], gguf.GGUFReader._build_fields
    monkeypatch.setattr(
        gguf.GGUFReader, "_build_fields", lambda self, *rest: readings.append(self.data) or build(self, *rest)
    )
    return tmp_path / "m.gguf", theirs, readings


def _logits(model):
    ids = torch.randint(300, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return ids, model.estimand.net(ids)


def test_a_gguf_file_has_its_weights_is_read_once_and_refused_where_it_is_cut(gguf_file):
    import gguf

    path, theirs, readings = gguf_file
    reader = gguf.GGUFReader
    model = open_published(path, {"length": 24})
    assert len(readings) == 1
    assert gguf.GGUFReader is reader
    ids, logits = _logits(model)
    with torch.no_grad():
        torch.testing.assert_close(logits, theirs(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    assert model.space.show(model.space.parse(TEXT[:60])) == TEXT[:60]
    content = path.read_bytes()
    for share in (0.02, 0.3, 0.7, 0.99):
        Path("cut.gguf").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"cut\.gguf: (is damaged|cannot be opened)") as caught:
            open_published(Path("cut.gguf"))
        assert "\n" not in str(caught.value)


def test_a_gguf_file_opens_from_the_cache_the_second_time(gguf_file):
    path, _, readings = gguf_file
    first = open_published(path, {"length": 24})
    again = open_published(Path("m.gguf"), {"length": 24})
    assert len(readings) == 1
    assert torch.equal(_logits(first)[1], _logits(again)[1])
    assert first.configuration() == again.configuration()
    assert published_tokenizer(path) == first.space.tokenizer.file
    assert len(readings) == 1
    stored = {file.name for file in source(path).iterdir()}
    assert stored == {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}


def test_a_tied_table_of_tokens_is_kept_under_its_own_name(gguf_file):
    """The library would draw the table at random, and tie it afterwards, where only the head's name is there."""
    from safetensors import safe_open

    path, theirs, _ = gguf_file
    with torch.no_grad():
        theirs.lm_head.weight.copy_(theirs.model.embed_tokens.weight)
    write_gguf(path, theirs, tied=True)
    logits = _logits(open_published(path, {"length": 24}))[1]
    with safe_open(source(path) / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    assert torch.equal(_logits(open_published(path, {"length": 24}))[1], logits)


@pytest.mark.parametrize(
    ("file", "share"),
    [
        ("config.json", 0.5),
        ("tokenizer.json", 0.0),
        ("tokenizer_config.json", None),
        ("model.safetensors", 0.5),
        ("model.safetensors", None),
    ],
)
def test_a_damaged_cache_is_rebuilt(gguf_file, file, share):
    path, _, readings = gguf_file
    logits = _logits(open_published(path, {"length": 24}))[1]
    damaged = source(path) / file
    if share is None:
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[: int(share * damaged.stat().st_size)])
    assert torch.equal(_logits(open_published(path, {"length": 24}))[1], logits)
    assert len(readings) == 2
    assert torch.equal(_logits(open_published(path, {"length": 24}))[1], logits)
    assert len(readings) == 2


def test_a_gguf_file_that_changes_is_read_again(gguf_file):
    path, theirs, readings = gguf_file
    open_published(path, {"length": 24})
    with torch.no_grad():
        theirs.lm_head.weight.mul_(2)
    write_gguf(path, theirs)
    ids, logits = _logits(open_published(path, {"length": 24}))
    assert len(readings) == 2
    with torch.no_grad():
        torch.testing.assert_close(logits, theirs(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


def test_a_rounded_model_is_causal_and_says_that_it_is_another_one(tmp_path):
    _save(tmp_path, ("LlamaForCausalLM", LLAMA))
    model, whole = open_published(tmp_path, {"length": 24, "weights": "int8"}), open_published(tmp_path, {"length": 24})
    ids = model.space.ids(TEXT).long()[: 4 * 24].view(4, 24)
    scored, exact = model.log_prob(ids), whole.log_prob(ids)
    assert scored.kind == "lower_bound"
    assert "one tokenisation of the text" in scored.note
    assert "rounded to 8 bits, not of the published one" in scored.note
    assert (scored.nats - exact.nats).abs().max() / 24 < 0.05
    assert not torch.equal(scored.nats, exact.nats)
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 300
    with torch.no_grad():
        before, after = (model.estimand.net(rows)[:, :-1] for rows in (ids, changed))
        alone = model.estimand.net(ids[:1])[:, :-1]
    torch.testing.assert_close(before, after)  # a token's scale depends on the token alone
    torch.testing.assert_close(before[:1], alone, atol=1e-5, rtol=1e-4)
    with pytest.raises(TypeError, match="weights must be float32 to be written, got int8"):
        write_language_model(model, tmp_path / "out")


@pytest.mark.parametrize("outputs", [24, LARGE])
@pytest.mark.parametrize("bias", [False, True])
def test_a_rounded_layer_multiplies_whole_numbers_exactly(outputs, bias):
    """The products of plain and of packed weights, against sums of whole numbers in float64."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(32, outputs, bias)
    x = torch.randn(2, 3, 32, generator=generator)
    (q, s), (w, r) = to_int8(x), to_int8(layer.weight.detach())
    truth = s * r[:, 0] * (q.double() @ w.double().T) + (layer.bias.detach().double() if bias else 0)
    with torch.no_grad():
        torch.testing.assert_close(Linear8(layer)(x).double(), truth, atol=1e-5, rtol=1e-5)
    assert (truth - layer(x).double()).abs().max() < 0.05, "and rounding costs little"


def test_only_published_language_models_are_rounded(tmp_path):
    _save(tmp_path, ("LlamaForCausalLM", LLAMA))
    with pytest.raises(ValueError, match="weights must be float32 or int8, got 'int4'"):
        Run.load(tmp_path, opening={"weights": "int4"})
    fit("autoregressive", "wine", budget="1 steps", size="xs", out=tmp_path / "run")
    with pytest.raises(ValueError, match="weights must be left out for a run"):
        Run.load(tmp_path / "run", opening={"weights": "int8"})


def test_weights_of_another_shape_and_a_missing_config_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    _save(tmp_path, ("LlamaForCausalLM", LLAMA))
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros(3)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"has another shape of the tensor model\.norm\.weight: fetch"):
        open_published(tmp_path)
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(ValueError, match=r"holds weights, but no config\.json that can be read"):
        Run.load(tmp_path)


def _with_tokenizer(folder, count, network, specials=("<|end|>",), **config):
    """A folder whose tokenizer has some tokens, the special ones at the end, and whose network has some."""
    import tokenizers

    words = {f"word{i}": i for i in range(count - len(specials))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="word0"))
    tokenizer.add_special_tokens(list(specials))
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    settings = transformers.LlamaConfig(vocab_size=network, num_key_value_heads=2, **tiny, **config)
    transformers.LlamaForCausalLM(settings).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": specials[-1], "eos_token": specials[-1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return about


@pytest.mark.parametrize(
    ("count", "network", "config"),
    [
        (257, 1280, {}),  # a few tokens, padded far
        (5000, 6600, {}),  # reserved tokens
        (3000, 3064, {}),  # ids of the class: 1 and 2 are words
        (3000, 3064, {"bos_token_id": 1, "eos_token_id": [2999, 7]}),  # one of three ids is right
        (3000, 3064, {"bos_token_id": 50256, "eos_token_id": 50256}),  # beyond the network: of a template
        (3000, 3064, {"bos_token_id": None, "eos_token_id": None}),
    ],
)
def test_a_tokenizer_of_the_network_is_taken(tmp_path, count, network, config):
    _with_tokenizer(tmp_path, count, network, **config)
    assert open_published(tmp_path).estimand.net.tokens == network


@pytest.mark.parametrize(
    ("count", "network", "config", "words"),
    [
        (5000, 6700, {}, "5,000 tokens and its network 6,700"),
        (3001, 3000, {}, "3,001 tokens and its network 3,000"),
        (3000, 3064, {"eos_token_id": 3050}, "token 3050, which its tokenizer does not have"),
        (3000, 3064, {"bos_token_id": 11, "eos_token_id": [12, 13]}, "token 11, which is 'word11' in its tokenizer"),
    ],
)
def test_a_tokenizer_of_another_network_is_refused(tmp_path, count, network, config, words):
    _with_tokenizer(tmp_path, count, network, **config)
    with pytest.raises(ValueError, match=f"{words}: they are of two models") as error:
        open_published(tmp_path)
    assert "\n" not in str(error.value)


def test_two_files_of_one_tokenizer_must_agree_on_most_added_tokens(tmp_path):
    about = _with_tokenizer(tmp_path, 300, 320, specials=("<|a|>", "<|b|>", "<|end|>"))
    renamed = {297: "<|a|>", 298: "<|renamed|>", 299: "<|end|>"}
    for names, agrees in ((renamed, True), (renamed | {299: "<|stop|>"}, False)):
        added = {str(i): {"content": name, "special": True} for i, name in names.items()}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(about | {"added_tokens_decoder": added}))
        if agrees:
            open_published(tmp_path)
        else:
            with pytest.raises(
                ValueError, match=r"token 298 is '<\|renamed\|>' in tokenizer_config.json and '<\|b\|>'"
            ):
                open_published(tmp_path)
