"""Folders of sound: rates, lengths, channels, classes, transcripts, and files that are broken."""

import json
import re

import numpy as np
import pytest
import torch

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

from captions import decode_captions  # noqa: E402
from fourfold.data import DataError, describe, load, read_all  # noqa: E402
from fourfold.settings.data import DataOptions  # noqa: E402
from fourfold_speech import reading  # noqa: E402
from fourfold_speech.reading import read_sounds  # noqa: E402
from fourfold_speech.space import Audio  # noqa: E402


def wave(i, seconds=0.1, rate=8000, amplitude=0.3):
    t = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * (200 + 10 * i) * t)).astype(np.float32)


def fill(folder, n=24, rate=8000, suffix="wav", first=0, seconds=0.1):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        soundfile.write(folder / f"{i:03}.{suffix}", wave(first + i, seconds, rate), rate)
    return folder


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_flat_folder_is_read_to_the_bit(tmp_path, suffix):
    data = load(fill(tmp_path / "f", suffix=suffix))
    assert data.space == Audio(800, 8000)
    expected = {soundfile.read(p, dtype="int16")[0].tobytes() for p in (tmp_path / "f").iterdir()}
    assert {x.numpy().tobytes() for x in whole(data)} == expected
    assert data.notes == ()
    assert "24 files" in data.source
    assert "bits/sample" in describe(data)


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_formats_are_nearly_the_wave(tmp_path, suffix):
    folder = fill(tmp_path / "f", n=20, suffix=suffix, seconds=0.5)
    x = read_all(folder, Audio(4000, 8000), limit=None)[0].x
    assert len(x) >= 20
    level = x[0].float() / 32768
    assert float(level.square().mean().sqrt()) == pytest.approx(0.3 / 2**0.5, rel=0.1)


def test_sub_folders_are_classes_and_pieces_of_a_file_stay_together(tmp_path):
    for k, name in enumerate(["bee", "cow"]):
        fill(tmp_path / "f" / name, n=15, first=100 * k, seconds=0.25)
    data = load(tmp_path / "f", given="labels", seconds=0.1)
    assert data.given.names == ("bee", "cow")
    assert len(whole(data)) == 30 * 3
    assert any("cut 30 longer files into clips of 0.1 s" in note for note in data.notes)
    first = {x[:400].numpy().tobytes() for x in data.train.x}
    assert not first & {x[:400].numpy().tobytes() for x in data.test.x}
    ids = dict(zip(data.given.names, (0, 1), strict=True))
    high = [float(abs(torch.fft.rfft(x.float())).argmax()) for x in data.train.x]
    assert all((f > 60) == (c == ids["cow"]) for f, c in zip(high, data.train.cond.tolist(), strict=True))


@pytest.mark.parametrize("form", ["csv", "jsonl", "txt", "beside"])
def test_transcripts(tmp_path, form):
    folder = fill(tmp_path / "f")
    words = {f"{i:03}.wav": f"number {i}" for i in range(24)}
    if form == "csv":
        rows = "".join(f'{name},"{text}"\n' for name, text in words.items())
        (folder / "transcripts.csv").write_text("file,transcript\n" + rows)
    elif form == "jsonl":
        lines = [json.dumps({"audio": name, "sentence": text}) for name, text in words.items()]
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    elif form == "txt":
        (folder / "captions.txt").write_text("".join(f"{name}\t{text}\n" for name, text in words.items()))
    else:
        for name, text in words.items():
            (folder / name).with_suffix(".txt").write_text(text)
    data = load(folder, given="labels")
    assert data.space.given.text.length - 1 == 128
    for x, text in zip(data.train.x, decode_captions(data.train.cond), strict=True):
        own = soundfile.read(folder / f"{int(text.split()[1]):03}.wav", dtype="int16")[0]
        assert torch.equal(x, torch.from_numpy(own))


def test_a_file_with_words_is_never_cut(tmp_path):
    folder = fill(tmp_path / "f", n=30)
    soundfile.write(folder / "long.wav", wave(0, 0.5), 8000)
    for path in [*folder.glob("*.wav")]:
        path.with_suffix(".txt").write_text("word")
    data = load(folder, seconds=0.1)
    assert len(whole(data)) == 30
    assert any("left out 1 files longer than 0.1 s, which would lose words" in note for note in data.notes)
    assert load(folder).space.length == 4000


def test_rates_lengths_channels_silence_and_clipping_are_told(tmp_path):
    folder = fill(tmp_path / "f", n=25)
    soundfile.write(folder / "fast.wav", wave(0, 0.1, 22050), 22050)
    soundfile.write(folder / "short.wav", wave(0, 0.05), 8000)
    soundfile.write(folder / "stereo.wav", np.stack([wave(1), -wave(1)], 1), 8000)
    soundfile.write(folder / "quiet.wav", np.zeros(800), 8000)
    soundfile.write(folder / "loud.wav", np.clip(4 * wave(2), -1, 1), 8000)
    data = load(folder)
    assert data.space == Audio(800, 8000)
    notes = "\n".join(data.notes)
    for words in (
        "resampled to 8,000 Hz (1 of 22,050 Hz): for another rate give --rate 16000",
        "padded 1 of 30 clips with silence to 0.1 s",
        "mixed into one channel: stereo.wav",
        "silent: quiet.wav and 1 more",  # two channels that cancel are silent once they are mixed
        "clipped (samples in a row at full scale): loud.wav",
    ):
        assert words in notes
    lengths = data.space.lengths(whole(data))
    assert sorted(set(lengths.tolist()))[0] == 0
    assert 400 in [n + 1 for n in lengths.tolist()] + lengths.tolist()


def test_resampling_keeps_a_tone_and_removes_what_does_not_fit(tmp_path):
    rate = 16000
    t = np.arange(rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.4 * np.sin(2 * np.pi * 1000 * t) + 0.4 * np.sin(2 * np.pi * 6000 * t), rate)
    source = read_sounds(tmp_path / "a.wav", DataOptions(rate=8000, seconds=1))
    spectrum = torch.fft.rfft(source.x[0].double() / 32768).abs() / 4000
    assert float(spectrum[1000]) == pytest.approx(0.4, abs=0.01)
    assert float(spectrum[2000]) < 0.01  # 6,000 Hz would fold there
    assert source.notes == ()


BROKEN = {
    "empty.wav": (b"", "is empty"),
    "noise.wav": (b"no sound at all", "cannot be read"),
    "cut.flac": (b"fLaC\0\0\0\x22", "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name_or_skipped(tmp_path, name):
    folder, (content, word) = fill(tmp_path / "f"), BROKEN[name]
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{re.escape(name)}: {word}.*--skip-bad") as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    data = load(folder, skip_bad=True)
    assert len(whole(data)) == 24
    assert any(name in line for line in data.skipped)


def test_what_is_not_a_number_is_refused(tmp_path):
    folder = fill(tmp_path / "f")
    bad = wave(0)
    bad[7] = np.nan
    soundfile.write(folder / "nan.wav", bad, 8000, "FLOAT")
    with pytest.raises(DataError, match=r"nan\.wav: .*must be finite"):
        load(folder)


def test_a_header_without_samples_is_refused(tmp_path):
    folder = fill(tmp_path / "f")
    soundfile.write(folder / "none.wav", np.zeros(0), 8000)
    with pytest.raises(DataError, match=r"none\.wav: must have samples"):
        load(folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": 20}, "rate must be from 1,000 .* got 20"),
        ({"seconds": 0.0}, "seconds must be positive .* got 0.0"),
        ({"size": 8}, "size must be left out"),
    ],
)
def test_settings_are_refused(tmp_path, settings, words):
    with pytest.raises(DataError, match=words):
        load(fill(tmp_path / "f"), **settings)


def test_other_files_among_sounds_are_refused(tmp_path):
    folder = fill(tmp_path / "f")
    (folder / "cover.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cover\.png: must be a sound"):
        load(folder)
    assert len(load(folder, skip_bad=True).skipped) == 1


def test_rate_means_nothing_for_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n" + "1.5,2\n" * 30)
    with pytest.raises(DataError, match="rate must be left out"):
        load(tmp_path / "a.csv", rate=8000)


def test_files_are_read_as_a_model_knows_them(tmp_path):
    space = Audio(600, 16000)
    part, notes = read_all(fill(tmp_path / "f", n=3), space)
    assert part.x.shape == (9, 600)  # 0.1 s at 16 kHz are 1,600 samples
    assert "resampled to 16,000 Hz (3 of 8,000 Hz), as the model expects them" in notes
    wave, _ = read_all(tmp_path / "f" / "001.wav", space)
    assert torch.equal(wave.x, part.x[3:6])


def test_a_long_recording_is_a_data_set_of_its_pieces(tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(3, 10.0), 8000)
    data = load(tmp_path / "a.wav", seconds=0.25)
    assert len(whole(data)) == 40
    assert data.space == Audio(2000, 8000)


def test_seconds_of_sound_in_sum_have_a_limit(tmp_path, monkeypatch):
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.flac", np.zeros(8000), 8000)
    monkeypatch.setattr(reading, "ALL", 2.5)
    with pytest.raises(DataError, match=r"at most 0 hours of sound, .*; give --limit"):
        load(tmp_path)
