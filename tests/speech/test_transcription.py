"""Transcription: text given sound. Search against enumeration, sums to 1, times of long sounds, refusals."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import fourfold
from fourfold import checks
from fourfold.core import GenerativeModel
from fourfold.main import run as main
from fourfold.metrics.words import edits, error_rate
from fourfold.paradigms import build
from fourfold.spaces import Lines, Text
from fourfold_speech.networks import SpeechTransformer
from fourfold_speech.paradigm import JointLikelihood, TranscriptConditionals
from fourfold_speech.space import Audio
from fourfold_speech.transcription import beam_search, parts_of, segments, transcribe

RATE = 8000
TINY = Lines(Text("abc", 4), given=Audio(RATE, RATE))


def model_of(space: Lines, seed: int = 0, spread: float = 0.3) -> GenerativeModel:
    """A small model whose distribution is far from even, and far from one text."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build("autoregressive", space, "xs").eval()
        for p in model.parameters():
            p.data.add_(spread * torch.randn_like(p) / math.sqrt(max(p.shape[-1], 8) if p.ndim > 1 else 8))
        head = model.estimand.net.head
        head.weight.data.copy_(torch.randn_like(head.weight) * 0.3)
    return model


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return (3000 * torch.randn(n, generator=torch.Generator().manual_seed(seed))).to(torch.int16)


@pytest.mark.parametrize("check", list(checks.MODEL_CHECKS))
def test_contract(check: str) -> None:
    checks.MODEL_CHECKS[check](model_of(Lines(Text("abcdef", 12), given=Audio(4000, RATE))))


def test_space() -> None:
    checks.check_space(TINY)
    checks.check_space(Lines(Text("abc", 6), given=Audio(400, RATE)))
    checks.check_space(Lines(Text("", 6), given=Audio(RATE, RATE)))
    x = TINY.parse(["", "ab", "cba"])
    assert x.tolist() == [[3, 3, 3, 3], [0, 1, 3, 3], [2, 1, 0, 3]]
    assert [TINY.show(ids) for ids in x] == ["", "ab", "cba"]
    assert TINY.byte_counts(x).tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="must have at most 3 characters, got 4: shorten"):
        TINY.parse(["abca"])
    with pytest.raises(ValueError, match="row 0: must end with its end token"):
        TINY.check(torch.tensor([[0, 3, 1, 3]]))


def test_masses_of_all_texts_sum_to_one() -> None:
    model, sound = model_of(TINY), noise(3000)
    every, _ = TINY.support(0, 0)
    assert len(every) == 1 + 3 + 9 + 27 + 81
    scores = model.log_prob(every, sound)
    assert float(scores.nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_padding_and_neighbours_change_nothing() -> None:
    space = Lines(Text("abc", 6), given=Audio(2 * RATE, RATE))
    model = model_of(space)
    x = space.parse(["abc", "c", "", "bb"])
    sounds = torch.zeros(4, 2 * RATE, dtype=torch.int16)
    for i, n in enumerate((16000, 1234, 801, 5000)):
        sounds[i, :n] = noise(n, i)
        sounds[i, n - 1] = 7
    together = model.log_prob(x, sounds).nats
    alone = torch.cat([model.log_prob(x[i : i + 1], sounds[i : i + 1]).nats for i in range(4)])
    assert torch.allclose(together, alone, atol=2e-4)
    assert torch.allclose(model.log_prob(x[1:2], sounds[1, :1234]).nats, alone[1:2], atol=2e-4)
    flipped_nats = model.log_prob(x, sounds.flip(0)).nats
    assert float((flipped_nats - together).abs().min()) > 1e-3  # the sound matters


def test_sounds_and_texts_of_many_lengths_have_few_shapes() -> None:
    """One second is 25 frames of the encoder, which are padded to 8, 16, 24 or 32; texts to 16 or all 20 tokens."""
    space = Lines(Text("abc", 20), given=Audio(RATE, RATE))
    model = model_of(space)
    net, shapes = model.estimand.net, set()
    for name in ("entry", "embedding"):
        net.get_submodule(name).register_forward_hook(
            lambda _, given, out, name=name: shapes.add((name, given[0].shape))
        )
    for n in range(1, 20):
        sound = noise(n * RATE // 19)[None]
        assert float(model.log_prob(space.parse(["a" * n]), sound).nats) < 0
    assert {shape[2] for name, shape in shapes if name == "entry"} == {32, 64, 96, 128}
    assert {shape[1] for name, shape in shapes if name == "embedding"} == {16, 20}


def test_samples_follow_the_distribution_that_is_scored() -> None:
    model, sound = model_of(TINY, spread=0.5), noise(2000)
    every, _ = TINY.support(0, 0)
    p = model.log_prob(every, sound).nats.double().exp()
    n = 4000
    samples = model.sample(n, sound)
    counts = (samples[:, None] == every).all(2).double().sum(0)
    likely = p > 0.01
    error = (counts[likely] / n - p[likely]).abs() / (p[likely] * (1 - p[likely]) / n).sqrt()
    assert int(counts.sum()) == n
    assert float(error.max()) < 4.5


@pytest.mark.parametrize(("penalty", "alignment"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.4), (1.0, 0.9)])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_search_finds_the_best_of_all_texts(seed: int, penalty: float, alignment: float) -> None:
    model, sound = model_of(TINY, seed), noise(1500, seed)
    every, _ = TINY.support(0, 0)
    score = model.log_prob(every, sound).nats.double()
    if alignment:
        score = (1 - alignment) * score + alignment * aligned(model, every, sound)
    rank = score / (TINY.counts(every) + 1) ** penalty
    beams = beam_search(model, sound, beams=200, penalty=penalty, alignment=alignment)
    best = every[int(rank.argmax())]
    assert beams[0].ids == tuple(best[best != TINY.end].tolist())
    assert beams[0].rank(penalty) == pytest.approx(float(rank.max()), abs=1e-4)
    texts = torch.full((len(beams), 4), TINY.end)
    for row, text in zip(texts, beams, strict=True):
        row[: len(text.ids)] = torch.tensor(text.ids, dtype=torch.long)
    expected = model.log_prob(texts, sound).nats
    torch.testing.assert_close(torch.tensor([text.log_prob for text in beams]), expected, atol=1e-4, rtol=0)
    narrow = beam_search(model, sound, beams=1, penalty=penalty, alignment=alignment)
    assert narrow[0].rank(penalty) <= beams[0].rank(penalty) + 1e-5


def aligned(model: GenerativeModel, every: Tensor, sound: Tensor) -> Tensor:
    """``log p_ctc`` of texts, by all paths; of a text without room for its end, that of all texts that begin so."""
    assert isinstance(model.estimand, TranscriptConditionals)
    assert isinstance(model.objective, JointLikelihood)
    with torch.no_grad():
        states = model.estimand.encode(1, sound[None])
        names = model.objective.names(states.features[states.mask]).double().log_softmax(-1)
    spelt: dict[tuple[int, ...], float] = {}
    masses = torch.zeros(1, dtype=torch.float64)
    for frame in names:
        masses = (masses[:, None] + frame).flatten()
    for path, mass in zip(itertools.product(range(TINY.tokens), repeat=len(names)), masses.exp().tolist(), strict=True):
        text = tuple(token for token, _ in itertools.groupby(path) if token != TINY.end)[: TINY.text.length]
        spelt[text] = spelt.get(text, 0.0) + mass
    by_text = [spelt.get(tuple(x[x != TINY.end].tolist()), 0.0) for x in every]
    return torch.tensor(by_text, dtype=torch.float64).log()


def test_ids_that_are_never_written_are_passed_over_and_scores_stay() -> None:
    model, sound = model_of(TINY), noise(3000)
    whole = {beam.ids: beam.log_prob for beam in beam_search(model, sound, beams=200, alignment=0)}
    model.estimand.net.never, model.estimand.net.not_first = (1,), (TINY.end,)
    some = beam_search(model, sound, beams=200, alignment=0)
    assert all(1 not in beam.ids and beam.ids for beam in some)
    for beam in some:
        if beam.ids in whole:
            assert beam.log_prob == pytest.approx(whole[beam.ids], abs=1e-5)


# --- long sounds ------------------------------------------------------------------------------------------------------


def test_a_long_sound_is_cut_where_it_is_quiet_and_times_are_kept() -> None:
    words = [(0.5, 1.9), (2.3, 3.9), (4.2, 4.9), (7.0, 8.0)]
    wave = torch.zeros(9 * RATE, dtype=torch.int16)
    for i, (start, end) in enumerate(words):
        a, b = round(start * RATE), round(end * RATE)
        wave[a:b] = noise(b - a, i)
    for size in (1000, 8000, len(wave)):
        parts = list(parts_of(wave.split(size), RATE, 2 * RATE))
        assert all(len(part) <= 2 * RATE for _, part in parts)
        for start, part in parts:
            assert torch.equal(part, wave[start : start + len(part)])
        loud = torch.zeros(len(wave), dtype=torch.bool)
        for start, part in parts:
            loud[start : start + len(part)] = True
        assert bool(loud[wave.abs() > 100].all())
        cuts = [start / RATE for start, _ in parts]
        assert cuts == pytest.approx([0.4, 2.2, 4.1, 6.9], abs=0.02)


def test_memory_does_not_grow_with_the_sound() -> None:
    largest = 0

    def blocks() -> "itertools.chain[torch.Tensor]":
        nonlocal largest
        for i in range(200):
            yield noise(RATE, i)

    for start, part in parts_of(blocks(), RATE, 3 * RATE):
        largest = max(largest, len(part))
        assert start + len(part) <= 200 * RATE
    assert RATE < largest <= 3 * RATE


def test_silence_has_no_text_and_a_waveform_is_checked() -> None:
    model = model_of(TINY)
    assert transcribe(model, np.zeros(20000, np.float32)).segments == ()
    transcript = transcribe(model, noise(3000).float().numpy() / 32768, beams=4)
    assert transcript.segments[0].end == pytest.approx(3000 / RATE, abs=0.01)
    again = model.log_prob(TINY.parse([transcript.text]), noise(3000)).nats
    assert transcript.log_prob == pytest.approx(float(again), abs=1e-3)
    with pytest.raises(ValueError, match=r"sound must lie in \[-1, 1\], got up to 3"):
        transcribe(model, np.array([0.0, 3.0], np.float32))
    with pytest.raises(ValueError, match=r"give one channel"):
        transcribe(model, np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match=r"at most 1.0 s long, got 1.1 s: use transcribe"):
        beam_search(model, noise(9000))
    with pytest.raises(ValueError, match=r"alignment must lie in \[0, 1\), got 1"):
        beam_search(model, noise(900), alignment=1)
    with pytest.raises(TypeError, match="model must be of texts given sounds"):
        transcribe(build("autoregressive", Text("abc", 8), "xs"), np.zeros(10, np.float32))


def test_files(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    model = model_of(TINY)
    wave = noise(int(2.5 * RATE)).float().numpy() / 32768
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    soundfile.write(tmp_path / "b.flac", np.stack([wave, wave], 1), RATE)
    a, b = (list(segments(model, tmp_path / name)) for name in ("a.wav", "b.flac"))
    assert [transcript.text for transcript in a] == [transcript.text for transcript in b]
    assert a[-1].end == pytest.approx(2.5, abs=0.02)
    pytest.importorskip("soxr")
    soundfile.write(tmp_path / "c.wav", np.repeat(wave, 2), 2 * RATE)
    assert list(segments(model, tmp_path / "c.wav"))[-1].end == pytest.approx(2.5, abs=0.05)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), RATE)
    for name, reason in (
        ("empty.wav", "is empty"),
        ("text.wav", "is not a sound"),
        ("none.wav", "must have sound"),
        ("missing.wav", "must be a file"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {reason}"):
            transcribe(model, tmp_path / name)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "n"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 2)]
)
def test_edits(a: str, b: str, n: int) -> None:
    assert edits(a, b) == edits(b, a) == n


def test_error_rates_equal_those_of_jiwer() -> None:
    jiwer = pytest.importorskip("jiwer")
    generator, words = np.random.default_rng(0), ["please", "press", "one", "two", "pound", "key"]
    texts = [" ".join(generator.choice(words, generator.integers(1, 8))) for _ in range(80)]
    hypotheses, true = texts[:40], texts[40:]
    wer, cer = error_rate(hypotheses, true, "word"), error_rate(hypotheses, true, "character")
    assert wer.value == pytest.approx(jiwer.wer(true, hypotheses))
    assert cer.value == pytest.approx(jiwer.cer(true, hypotheses))
    assert wer.low < wer.value < wer.high


# --- masks of spectra -------------------------------------------------------------------------------------------------


def net_of(masked: float, bands: int = 8) -> SpeechTransformer:
    torch.manual_seed(0)
    return SpeechTransformer(4, 4, RATE, 32, 1, 1, 2, bands, masked)


def test_only_training_hides_parts_of_a_spectrum() -> None:
    sound, masked, plain = noise(2 * RATE)[None], net_of(0.5), net_of(0.0)
    features = plain.eval().encode(sound).features
    assert torch.equal(masked.eval().encode(sound).features, features)
    assert torch.equal(plain.train().encode(sound).features, features)
    first, second = (masked.train().encode(sound).features for _ in range(2))
    assert not torch.allclose(first, features)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(("bands", "frames", "masked"), [(8, 30, 0.3), (20, 7, 0.5), (5, 12, 1.0)])
def test_masks_hide_bands_and_frames_as_often_as_stated(bands: int, frames: int, masked: float) -> None:
    """Each of two masks of n places is floor(p n U) wide and begins anywhere; frames of padding stay."""
    n = 2000
    visible = net_of(masked, bands)._hidden(torch.ones(n, bands, frames + 4), torch.full((n,), frames)) > 0

    def shown(places: int) -> Tensor:
        u = (torch.arange(10_000) + 0.5) / 10_000
        hidden, at = torch.zeros(places), torch.arange(places)
        for width, often in enumerate((u * masked * places).long().bincount().tolist()):
            starts = torch.arange(places - width + 1)[:, None]
            hidden += often / len(u) * ((starts <= at) & (at < starts + width)).float().mean(0)
        return (1 - hidden) ** 2

    expected = shown(bands)[:, None] * torch.nn.functional.pad(shown(frames), (0, 4), value=1.0)
    assert torch.allclose(visible.float().mean(0), expected, atol=5 * 0.5 / n**0.5)
    most = 2 * int(masked * bands) * (frames + 4) + 2 * int(masked * frames) * bands
    assert int((~visible).sum((1, 2)).max()) <= most


def test_a_share_of_masks_lies_between_0_and_1() -> None:
    with pytest.raises(ValueError, match=r"masked must lie in \[0, 1\], got 1.5"):
        net_of(1.5)


# --- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.agreement
def test_it_learns_which_tones_are_heard() -> None:
    """Each letter is a tone; after some steps the text of new sounds is written without a mistake."""
    space = Lines(Text("abc", 5), given=Audio(RATE, RATE))
    generator = torch.Generator().manual_seed(0)
    texts = [
        "".join("abc"[i] for i in torch.randint(3, (int(n),), generator=generator))
        for n in torch.randint(1, 5, (80,), generator=generator)
    ]
    time = torch.arange(1600) / RATE
    tones = {
        letter: (9000 * (2 * math.pi * f * time).sin()).to(torch.int16)
        for letter, f in zip("abc", (300, 900, 2200), strict=True)
    }
    sounds = torch.zeros(80, RATE, dtype=torch.int16)
    for row, text in zip(sounds, texts, strict=True):
        wave = torch.cat([tones[letter] for letter in text])
        row[: len(wave)] = wave
    torch.manual_seed(0)
    model = build("autoregressive", space, "xs")
    batches = [(space.parse(texts[i : i + 16]), sounds[i : i + 16]) for i in range(0, 64, 16)]
    for _ in fourfold.train(model, batches, budget="60 steps"):
        pass
    model.eval()
    transcripts = [transcribe(model, sound, beams=2).text for sound in sounds[64:]]
    assert sum(a == b for a, b in zip(transcripts, texts[64:], strict=True)) >= 14


def test_a_folder_of_sounds_is_learned_scored_and_transcribed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile = pytest.importorskip("soundfile")
    sounds, lines = tmp_path / "sounds", ["file,transcript"]
    sounds.mkdir()
    for i in range(40):
        text, wave = ("ab", "ba", "aab")[i % 3], noise(RATE // 2 + 100 * i, i)
        soundfile.write(sounds / f"{i}.wav", wave.numpy(), RATE, "PCM_16")
        lines.append(f"{i}.wav,{text}")
    (sounds / "transcripts.csv").write_text("\n".join(lines))
    data = fourfold.load(sounds, space="lines")
    assert isinstance(data.space, Lines)
    assert data.space.given == Audio(RATE // 2 + 3900, RATE)
    assert data.train.cond is not None
    assert data.train.cond.dtype == torch.int16
    assert {data.space.show(ids) for ids in data.train.x} == {"ab", "ba", "aab"}
    run = fourfold.fit(
        "autoregressive",
        sounds,
        budget="3 steps",
        size="xs",
        out=tmp_path / "run",
        data_options={"space": "lines"},
        precision="float32",
    )
    again = fourfold.Run.load(tmp_path / "run")
    part, _ = again.examples()
    assert part.cond is not None
    assert torch.allclose(again.log_prob(part.x, part.cond).nats, run.log_prob(part.x, part.cond).nats, atol=1e-5)
    scores = {score.name: score for score in again.evaluate(n=8)}
    assert scores["word_error_rate"].n == len(part.x)
    transcript = fourfold.transcribe(tmp_path / "run", sounds / "0.wav", beams=2)
    assert len(transcript.segments) == 1
    with pytest.raises(ValueError, match="holds no examples with texts"):
        fourfold.load(np.zeros((30, 3)), space="lines")
    command = ["transcribe", str(tmp_path / "run"), str(sounds / "0.wav"), "--beams", "2"]
    capsys.readouterr()
    assert main(command) == 0
    assert f"log p = {transcript.log_prob:.2f} nats" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["text"], report["end"]) == (transcript.text, transcript.segments[0].end)
    (tmp_path / "b.wav").write_text("no sound")
    assert main(["transcribe", str(tmp_path / "run"), str(tmp_path / "b.wav")]) == 2
    assert "b.wav: is not a sound that can be read" in capsys.readouterr().err
    assert main([*command, "--language", "de"]) == 2
    assert "leave --language out" in capsys.readouterr().err
