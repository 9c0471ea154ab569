"""Dialogues, next words and transcripts on the page are those of the command line, and holes are filled sensibly."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from page_client import Client, serving
from test_runs import rows, upload

import fourfold
from fourfold.engine import Run
from fourfold.runs.services import services
from fourfold.spaces import Lines, Text
from fourfold.tasks.language import Shaping
from fourfold_web import zoo
from fourfold_web.folders import runs_of

dialogue = pytest.importorskip("fourfold_published.dialogue", reason="dialogues are of the wing published")
words = pytest.importorskip("fourfold_published.words", reason="words are of the wing published")
sounds = pytest.importorskip("fourfold_speech.space", reason="transcripts are of the wing speech")

LETTERS = "\n" + "".join(sorted({*"You: Model: abcdefghijklmnopqrstuvwxyz .?"}))
TONE = sounds.wav((9000 * torch.sin(torch.arange(4000) / 5)).to(torch.int16), rate=8000)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("services")
    torch.manual_seed(0)
    models = {
        "text": fourfold.build("autoregressive", Text(LETTERS, 64), size="xs"),
        "said": fourfold.build("autoregressive", Lines.of_bytes(6).conditioned_on(sounds.Audio(4000, 8000)), size="xs"),
    }
    return {name: Path(Run(model).save(folder / name).folder or "") for name, model in models.items()}


@pytest.fixture(scope="module")
def page(runs: dict[str, Path]) -> Iterator[Client]:
    with serving(
        runs | {"latent": zoo.folder_of("digits/latent-diffusion"), "names": zoo.folder_of("names/autoregressive")}
    ) as client:
        yield client


def test_a_run_has_the_services_that_fit_it(page: Client):
    offers = {
        name: {row["name"] for row in page.ask(f"/api/runs/{name}/about.json").json["services"]}
        for name in ("text", "said", "latent", "names")
    }
    assert offers == {"text": {"chat", "keyboard"}, "said": {"transcription"}, "latent": set(), "names": {"keyboard"}}
    assert {"chat", "keyboard", "transcription"} <= services().keys()


def test_an_answer_is_that_of_the_dialogue(page: Client, runs: dict[str, Path]):
    turns = ["how are you?", "fine.", "who are you?"]
    parts = rows(
        page, "/api/runs/text/answer", {"service": "chat", "texts": turns, "length": 12, "seed": 3, "temperature": 0.7}
    )
    talk = dialogue.Dialogue(Run.load(runs["text"]).model, None, Shaping(temperature=0.7), 12, seed=3)
    talk.turns = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), turns, strict=True)
    ]
    assert "".join(row.get("text", "") for row in parts) == "".join(talk.answer())


def test_words_are_those_of_the_keyboard(page: Client, runs: dict[str, Path]):
    offered = [
        row for row in rows(page, "/api/runs/text/answer", {"service": "keyboard", "texts": ["yo"]}) if "text" in row
    ]
    expected = words.Completer(Run.load(runs["text"]).model).following("yo", 3)
    assert [row["text"] for row in offered] == [word for word, _ in expected]
    assert [row["probability"] for row in offered] == pytest.approx([mass for _, mass in expected])


def test_a_transcript_is_that_of_the_library(page: Client, runs: dict[str, Path], tmp_path: Path):
    pytest.importorskip("soundfile", reason="sound is read with the extra 'audio'")
    (tmp_path / "tone.wav").write_bytes(TONE)
    asked = {"service": "transcription", "file": upload("tone.wav", TONE)}
    parts = [row for row in rows(page, "/api/runs/said/answer", asked) if "text" in row]
    expected = fourfold.transcribe(runs["said"], tmp_path / "tone.wav").segments
    assert [(row["text"], row["nats"]) for row in parts] == [
        (s.text.strip(), pytest.approx(s.log_prob)) for s in expected
    ]
    assert "WAV" in page.ask("/api/runs/said/answer", asked | {"file": upload("x.wav", b"no")}).json["error"]


@pytest.mark.parametrize(
    ("asked", "noun"),
    [
        ({"service": "chat", "texts": ["a", "b"]}, "2 turns"),
        ({"service": "chat", "texts": []}, "0 turns"),
        ({"service": "chat", "texts": ["a" * 200]}, "context of 64"),
        ({"service": "chat", "texts": ["a"], "temperature": 0}, "temperature"),
        ({"service": "keyboard", "texts": "abc"}, "texts"),
        ({"service": "transcription", "texts": ["a"]}, "service"),
    ],
)
def test_questions_without_an_answer_are_refused(page: Client, asked: dict, noun: str):
    answer = page.ask("/api/runs/text/answer", asked)
    assert answer.status == 400
    assert noun in answer.json["error"]


@pytest.mark.web
def test_a_file_of_weights_is_a_run(tmp_path: Path):
    """A GGUF file answers in its own chat template. Its folder is not read beyond it."""
    pytest.importorskip("gguf", reason="GGUF files are read with the extra 'hf'")
    transformers = pytest.importorskip("transformers", reason="GGUF files are read with the extra 'hf'")
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "published"))
    from small_gguf import QWEN2, write_gguf

    torch.manual_seed(0)
    write_gguf(tmp_path / "small.gguf", transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**QWEN2)))
    runs = runs_of([tmp_path / "small.gguf"])
    with serving(runs) as client:
        assert [(run["name"], run["trained"]) for run in client.ask("/api/runs.json").json] == [("small.gguf", True)]
        assert {row["name"] for row in client.ask("/api/runs/small.gguf/about.json").json["services"]} == {
            "chat",
            "keyboard",
        }
        parts = rows(client, "/api/runs/small.gguf/answer", {"service": "chat", "texts": ["It was"], "length": 5})
        assert all("error" not in row for row in parts)


@pytest.mark.web
def test_a_hole_of_a_latent_model_is_filled_by_what_stands_around_it():
    """The lower half of true digits is cut away: draws come nearer to the truth than draws without a picture."""
    from fourfold_web.tasks import _filled

    run = Run.load(zoo.folder_of("digits/latent-diffusion"))
    observed = torch.arange(8)[:, None].expand(8, 8) < 4
    x, free = run.dataset().test.x[:4].float(), run.sample(24, seed=1).float()
    error, other = (
        torch.tensor([(draws(images)[:, :, 4:] - images[:, 4:]).square().mean() for images in x]).mean()
        for draws in (lambda images: _filled(run.model, images, observed, 4, 0, None).float(), lambda images: free)
    )
    assert error < 0.75 * other


def test_every_row_is_json_without_what_json_has_not(page: Client):
    text = page.ask("/api/runs/text/answer", {"service": "keyboard", "texts": [""]}).text
    assert all(json.loads(line, parse_constant=pytest.fail) for line in text.splitlines())
