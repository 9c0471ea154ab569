"""Speech to train and test on, which installs offline: spoken digits, and recorded prompts with their words.

    python benchmarks/speech_data.py digits FOLDER [--count 2000] [--classes]
    python benchmarks/speech_data.py prompts FOLDER

``digits`` are synthetic: the program ``espeak-ng`` (Debian, GPL-3) says the ten digits in English voices, each with
random speed, pitch and loudness, drawn by a seed. Voices 0-15 of :data:`VOICES` make the training set, the others are
held out. ``prompts`` are human: Debian's ``asterisk-core-sounds-en-wav`` (Allison Smith, CC-BY-SA-3.0), whose words are
in ``asterisk-core-sounds-en``. One prompt in five is held out, chosen by a digest of its words, so that no sentence is
in both parts.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import random
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland")
VARIANTS = ("", "+m1", "+f1", "+m3", "+f2", "+m7", "+f3", "+f4")
VOICES = tuple(accent + variant for variant in VARIANTS for accent in ACCENTS)
"""32 voices; the first 16 are for training."""
TRAINED = 16
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
WORDS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")


class Spoken(NamedTuple):
    """A sound and its words."""

    words: str
    wave: np.ndarray
    """Float32 in [-1, 1], ``(L,)``."""
    rate: int
    name: str
    """The voice, or the file of the prompt."""


def espeak(
    words: str, voice: str = "en-us", speed: int = 160, pitch: int = 50, loudness: int = 100, rate: int = 8000
) -> np.ndarray:
    """The words as said by a voice of ``espeak-ng``, float32 ``(L,)``, without silence at both ends.

    Args:
        words: what to say.
        voice: a name of :data:`VOICES`.
        speed: words in a minute.
        pitch, loudness: 0 .. 99 and 0 .. 200.
        rate: samples in a second; espeak's own rate of 22,050 Hz is resampled.
    """
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        settings = ["-v", voice, "-s", str(speed), "-p", str(pitch), "-a", str(loudness)]
        subprocess.run(["espeak-ng", *settings, "-w", file.name, words], check=True, capture_output=True)
        wave, own = soundfile.read(file.name, dtype="float32")
    return trimmed(soxr.resample(wave, own, rate), rate)


def trimmed(wave: np.ndarray, rate: int, margin: float = 0.02) -> np.ndarray:
    """A wave without the parts before and after its sound, 40 dB below its peak; some ms are left on both sides."""
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    extra = round(margin * rate)
    return wave[max(loud[0] - extra, 0) : loud[-1] + extra]


def digits(count: int, seed: int = 0, rate: int = 8000, held_out: bool = False) -> list[Spoken]:
    """Spoken digits, each as often as the others: by the 16 voices of training, or by the 16 that are held out."""
    draw = random.Random(f"{seed} {held_out}")
    voices = VOICES[TRAINED:] if held_out else VOICES[:TRAINED]
    wanted = [
        (DIGITS[i % 10], draw.choice(voices), draw.randint(130, 190), draw.randint(30, 70), draw.randint(60, 120))
        for i in range(count)
    ]
    with ThreadPoolExecutor(2) as threads:
        waves = list(threads.map(lambda line: espeak(*line, rate), wanted))
    return [Spoken(line[0], wave, rate, line[1]) for line, wave in zip(wanted, waves, strict=True)]


def prompts(held_out: bool = False) -> list[Spoken]:
    """The recorded prompts that have words, at their 8,000 Hz: four fifths of them, or the fifth that is held out."""
    spoken = []
    for line in gzip.decompress(WORDS.read_bytes()).decode("utf-8", "replace").splitlines():
        name, _, words = line.partition(": ")
        path, said = PROMPTS / f"{name}.wav", plain(words)
        if (
            line.startswith(";")
            or "[" in words
            or name.startswith("silence/")
            or not said
            or not path.is_file()
            or is_held_out(said) != held_out
        ):
            continue
        wave, rate = soundfile.read(path, dtype="float32")
        spoken.append(Spoken(said, wave, rate, name))
    return spoken


def is_held_out(words: str) -> bool:
    """Whether a prompt is among the fifth that is held out, by a digest of its words."""
    return hashlib.sha256(plain(words).encode()).digest()[0] % 5 == 0


def plain(words: str) -> str:
    """Words in lower case, with apostrophes but without other marks."""
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", words.lower()).split())


def write(spoken: list[Spoken], folder: Path, classes: bool = False) -> Path:
    """WAV files with ``transcripts.csv``, or in one sub-folder for each text; an older folder is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    lines = ["file,transcript"]
    for i, clip in enumerate(spoken):
        path = folder / (clip.words if classes else "") / f"{i:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip.wave, clip.rate, "PCM_16")
        lines.append(f'{path.name},"{clip.words}"')
    if not classes:
        (folder / "transcripts.csv").write_text("\n".join(lines) + "\n")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("digits", "prompts"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000, help="number of spoken digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=int, default=8000)
    parser.add_argument("--classes", action="store_true", help="sub-folders instead of transcripts")
    parser.add_argument("--held-out", action="store_true", help="the part that is not for training")
    given = parser.parse_args()
    if given.what == "digits":
        spoken = digits(given.count, given.seed, given.rate, given.held_out)
    else:
        spoken = prompts(given.held_out)
    seconds = sum(len(clip.wave) / clip.rate for clip in spoken)
    print(f"{write(spoken, given.folder, given.classes)}: {len(spoken)} clips, {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
