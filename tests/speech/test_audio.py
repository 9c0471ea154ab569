"""Clips of sound: samples, padding, files, players and pictures."""

import io
import json
import wave

import numpy as np
import pytest
import torch
from PIL import Image

from fourfold.core import Beside, Clips, configuration, construct
from fourfold.paradigms import build
from fourfold.spaces import Vectors
from fourfold_speech.space import Audio, spectrogram

SPACE = Audio(800, 8000)


def clips(n=4, length=800):
    t = torch.arange(length) / 8000
    return torch.stack([(9000 * torch.sin(2 * torch.pi * 500 * (i + 1) * t)).round() for i in range(n)]).to(torch.int16)


def test_reals_become_the_nearest_samples_and_back():
    x = torch.tensor([[-1.0, 0.0, 0.5, 1.0, 1 / 32768, -0.25]])
    samples = Audio(6, 8000).conform(x)
    assert samples.tolist() == [[-32768, 0, 16384, 32767, 1, -8192]]
    assert torch.equal(Audio(6, 8000).waveform(samples)[0, [0, 1, 2, 4, 5]], x[0, [0, 1, 2, 4, 5]])
    assert torch.equal(Audio(6, 8000).conform(samples.float(), Vectors(6)), samples)
    with pytest.raises(ValueError, match=r"in \[-1, 1\], got larger"):
        Audio(6, 8000).conform(1e6 * x)


def test_padding_keeps_the_length_of_a_clip():
    padded = SPACE.conform(clips(2, 300))
    assert padded.shape == (2, 800)
    assert SPACE.lengths(padded).tolist() == [300, 300]
    assert SPACE.lengths(torch.zeros(1, 800, dtype=torch.int16)).tolist() == [0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"length": 0, "rate": 8000}, "must be positive, got 0 samples"),
    ],
)
def test_impossible_spaces_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Audio(**settings)


def test_reals_and_silence_are_refused():
    with pytest.raises(ValueError, match=r"int16.*conform"):
        SPACE.check(torch.zeros(2, 800))
    with pytest.raises(ValueError, match="clips must have sound"):
        SPACE.check_training(torch.zeros(5, 800, dtype=torch.int16))


def test_a_file_holds_the_clips_with_pauses(tmp_path):
    x = clips(3)
    SPACE.writers()[".wav"](tmp_path / "a.wav", x, Beside())
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(samples) == 3 * 800 + 2 * 2000
    assert np.array_equal(samples[2800:3600], x[1].numpy())
    assert not samples[800:2800].any()


def test_a_folder_holds_a_file_for_each_clip_without_padding(tmp_path):
    x = SPACE.conform(clips(4, 300))
    SPACE.writers()[""](tmp_path / "f", x, Beside(labels=["a", "b/c", "a", "a"], prompts=["one", "two"]))
    assert sorted(str(p.relative_to(tmp_path / "f")) for p in (tmp_path / "f").rglob("*.wav")) == [
        *("a/0.wav", "a/2.wav", "a/3.wav", "b-c/1.wav")
    ]
    assert (tmp_path / "f" / "captions.txt").read_text().splitlines()[2] == "2.wav\ttwo"
    with wave.open(str(tmp_path / "f" / "a" / "0.wav")) as file:
        assert file.getnframes() == 300
    with pytest.raises(ValueError, match="must be an empty folder"):
        SPACE.writers()[""](tmp_path / "f", x, Beside())


def test_a_page_plays_and_shows_each_clip():
    picture = SPACE.picture(clips(8))
    assert isinstance(picture, Clips)
    assert len(picture.sounds) == len(picture.pictures) == 4
    html = picture._repr_html_()
    assert html.count("<audio controls") == html.count("data:image/png;base64,") == 4
    assert "<script" not in html
    with wave.open(io.BytesIO(picture.sounds[1])) as file:
        assert np.array_equal(np.frombuffer(file.readframes(800), "<i2"), clips(8)[1].numpy())
    pairs = SPACE.picture(torch.cat([clips(4), clips(4)]), columns=4)
    assert (pairs.columns, len(pairs.sounds)) == (4, 8)
    long = Audio(100_000, 8000)
    assert len(long.picture(long.examples(6, torch.Generator())).sounds) == 1


@pytest.mark.parametrize("frequency", [500, 2000, 3500])
def test_a_spectrogram_is_brightest_at_the_frequency_of_a_tone(frequency):
    t = torch.arange(8000) / 8000
    x = (9000 * torch.sin(2 * torch.pi * frequency * t)).to(torch.int16)
    pixels = np.asarray(Image.open(io.BytesIO(spectrogram(x, 8000)))).astype(float).sum(2)
    rows = pixels.shape[0]
    assert rows == 96
    assert abs(pixels[:, 80].argmax() - (rows - 1 - (frequency / 4000 * rows - 1))) <= 1
    assert pixels.shape[1] > rows


def test_silence_is_dark():
    pixels = np.asarray(Image.open(io.BytesIO(spectrogram(torch.zeros(800, dtype=torch.int16), 8000))))
    assert pixels.max() < 12


@pytest.mark.parametrize("recipe", ["latent-diffusion/vocoder", "latent-variable/kl", "autoregressive/likelihood"])
def test_a_folder_that_names_the_modules_of_earlier_versions_is_read(recipe):
    earlier = {"space": "spaces", "codecs": "codecs.audio", "waves": "nn.waves", "vocoder": "paradigms.vocoder"}
    model = build(recipe, Audio(512, 8000), "xs")
    settings = model.configuration()
    text = json.dumps(settings)
    for module, former in earlier.items():
        text = text.replace(f"fourfold_speech.{module}:", f"fourfold.{former}:")
    assert "fourfold_speech" not in text
    assert configuration(construct(json.loads(text))) == settings
