"""GGUF files by llama.cpp: the network of ``transformers`` is the oracle. They need llama-cpp-python."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from small_gguf import QWEN2, TEXT, write_gguf

from fourfold.adapters import adapter_of, open_published
from fourfold.tasks.language import Shaping, score_text, stream
from fourfold.vocabulary import Kind
from fourfold_published.llama import LlamaTransformer

pytestmark = pytest.mark.published
pytest.importorskip("llama_cpp")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        torch.manual_seed(0)
        theirs = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**QWEN2)).eval()
        for parameter in theirs.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        write_gguf(folder / "m.gguf", theirs)
        yield folder / "m.gguf"


@pytest.fixture(scope="module")
def both(path):
    """The model by llama.cpp, and by transformers."""
    return open_published(path, {"length": 24}), open_published(path, {"length": 24, "weights": "float32"})


def test_logits_are_those_of_the_other_library(both) -> None:
    ids = torch.randint(300, (5, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own, theirs = (model.estimand.net(ids) for model in both)
    assert isinstance(both[0].estimand.net, LlamaTransformer)
    torch.testing.assert_close(own, theirs, atol=2e-2, rtol=2e-2)  # keys and values are in 16 bits
    assert (own.log_softmax(-1) - theirs.log_softmax(-1)).abs().mean() < 2e-3


def test_a_cache_gives_the_logits_of_the_whole_branches_and_forgets(both) -> None:
    net = both[0].estimand.net
    ids = torch.randint(300, (3, 16), generator=torch.Generator().manual_seed(1))
    whole, cache = net(ids), net.cache(3)
    parts = [net(ids[:, :7], cache), net(ids[:, 7:8], cache), net(ids[:, 8:12], cache)]
    cache.forget(2)
    assert cache.position == 10
    parts[-1] = parts[-1][:, :2]
    parts.append(net(ids[:, 10:], cache))
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=2e-2, rtol=2e-2)
    branch = net.cache(3)
    net(ids[:, :8], branch)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(net(ids[rows, 8:], branch.select(rows)), whole[rows, 8:], atol=2e-2, rtol=2e-2)


def test_a_cache_grows_and_is_cleared(both, monkeypatch) -> None:
    monkeypatch.setattr("fourfold_published.llama.LEAST", 4)
    monkeypatch.setattr("fourfold_published.llama.SEQUENCES", 2)
    net = both[0].estimand.net
    ids = torch.randint(300, (3, 20), generator=torch.Generator().manual_seed(2))
    cache = net.cache(3)
    grown = torch.cat([net(ids[:, i : i + 3], cache) for i in range(0, 20, 3)], 1)
    torch.testing.assert_close(grown, net(ids), atol=2e-2, rtol=2e-2)
    cache.clear()
    assert cache.position == 0
    torch.testing.assert_close(net(ids[:, :5], cache), grown[:, :5], atol=2e-2, rtol=2e-2)


def test_texts_are_scored_alike_and_the_note_says_by_whom(both) -> None:
    own, theirs = both
    ids = own.space.parse(TEXT[:120])
    nats, expected = (score_text(model, ids).sum() for model in both)
    assert float(nats) == pytest.approx(float(expected), rel=0.01)
    result = own.log_prob(ids[:24].unsqueeze(0))
    assert result.kind is theirs.log_prob(ids[:24].unsqueeze(0)).kind
    assert "llama.cpp" in result.note
    assert Kind.EXACT in (result.kind, own.likelihood.kind)


@pytest.mark.parametrize("shaping", [Shaping(), Shaping(temperature=0.7, top_k=40, repetition_penalty=1.2)])
def test_texts_are_drawn_by_the_same_rules(both, shaping) -> None:
    texts = [
        torch.stack(list(itertools.islice(stream(model, TEXT[:20], 64, 0, shaping), 12)), 1) for model in both
    ]  # the same uniforms choose, so texts part only where 16 bits move a boundary across one
    assert (texts[0][:, 0] == texts[1][:, 0]).float().mean() > 0.95
    assert (texts[0] == texts[1]).float().mean() > 0.8


def test_a_long_text_is_continued_beyond_the_context(both) -> None:
    net = both[0].estimand.net
    drawn = torch.cat(list(itertools.islice(stream(both[0], TEXT[:20], 1, 0), net.length + 8)))
    assert len(drawn) == QWEN2["max_position_embeddings"] + 8
    assert math.isfinite(float(score_text(both[0], drawn).sum()))


def test_training_gets_weights_and_damaged_files_are_refused(path) -> None:
    adapter = adapter_of(path)
    model = adapter.open(path, {**adapter.in_training, "length": 24})
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) > 10_000
    cut = path.with_name("cut.gguf")
    cut.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.gguf: (is|must be .* got one) damaged"):
        open_published(cut)
    with pytest.raises(ValueError, match="weights must be"):
        open_published(path, {"weights": "int4"})
