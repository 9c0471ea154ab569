import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from typing import get_type_hints

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from fourfold.cli.app import COMMANDS, app
from fourfold.engine import Run
from fourfold.main import main, run
from fourfold.paradigms import recipes


def call(*words, debug=False):
    return run([str(word) for word in words], debug)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three short runs: images by class, vectors and text."""
    folder = tmp_path_factory.mktemp("runs")
    common = ("--size", "xs", "--budget", "3 steps", "--precision", "float32")
    folders = {
        "images": ("diffusion", "digits", "--given", "labels"),
        "vectors": ("autoregressive", "wine"),
        "text": ("autoregressive", "python-docs", "--length", 32, "--limit", 5000),
    }
    for name, words in folders.items():
        assert call("fit", *words, *common, "--out", folder / name) == 0
    return folder


def test_help_loads_no_torch():
    program = "import sys; from fourfold.main import run; run(sys.argv[1:], False); assert 'torch' not in sys.modules"
    for words in (["--help"], ["fit", "--help"], ["--version"]):
        subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_done_by_the_function_that_takes_its_declaration(name):
    module, _, function = COMMANDS[name].work.partition(":")
    (hint,) = [h for n, h in get_type_hints(getattr(import_module(module), function)).items() if n != "return"]
    assert hint is COMMANDS[name]


def test_info_loads_neither_torch_nor_the_parser(runs):
    program = (
        "import sys; from fourfold.main import run; code = run(sys.argv[1:]); "
        "assert code == 0 and not {'torch', 'numpy', 'typer', 'rich', 'pydantic'} & set(sys.modules)"
    )
    for words in (["info"], ["info", str(runs / "images")]):
        subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True)


@pytest.mark.parametrize("words", [["info"], ["info", "flow"]])
def test_info_with_options_says_the_same(words, capsys):
    assert call(*words) == 0
    quick = capsys.readouterr().out
    assert app(words, standalone_mode=False) is None
    assert capsys.readouterr().out == quick
    assert call(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)


def test_every_command_has_help(capsys):
    for name in ("fit", "sample", "score", "evaluate", "compare", "info", "data"):
        assert call(name, "--help") == 0
        assert f"fourfold {name}" in capsys.readouterr().out


def test_images_become_a_grid(runs, tmp_path, capsys):
    assert call("sample", runs / "images", "-n", 6, "--given", "3", "--steps", 2, "-o", tmp_path / "a.png") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3 * 8 * 8 + 2 * 2 * 8, 2 * 8 * 8 + 2 * 8)


def test_samples_are_those_of_python(runs, tmp_path):
    assert call("sample", runs / "vectors", "-n", 5, "--seed", 7, "-o", tmp_path / "a.npy") == 0
    assert np.array_equal(np.load(tmp_path / "a.npy"), Run.load(runs / "vectors").sample(5, seed=7).numpy())
    assert call("sample", runs / "vectors", "-n", 5, "--seed", 7, "-o", tmp_path / "a.csv") == 0
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("alcohol,")
    np.testing.assert_allclose(np.loadtxt(lines[1:], delimiter=","), np.load(tmp_path / "a.npy"), rtol=1e-6)


def test_text_is_printed(runs, capsys, tmp_path):
    assert call("sample", runs / "text", "-n", 2) == 0
    assert len(capsys.readouterr().out) >= 64
    assert call("sample", runs / "text", "-n", 2, "-o", tmp_path / "a.txt") == 0


def test_guidance_by_class_name(runs, tmp_path):
    words = ("sample", runs / "images", "-n", 2, "--given", 3, "--steps", 2)
    assert call(*words, "-o", tmp_path / "plain.npy") == 0
    assert call(*words, "--guidance", 3, "-o", tmp_path / "guided.npy") == 0
    assert np.load(tmp_path / "guided.npy").shape == np.load(tmp_path / "plain.npy").shape


def test_samplers_by_name(runs, tmp_path, capsys):
    words = ("sample", runs / "images", "-n", 2, "--steps", 2)
    assert call(*words, "--sampler", "UniPC", "-o", tmp_path / "a.npy") == 0
    assert call(*words, "--sampler", "nonsense") == 2
    err = capsys.readouterr().err
    assert "sampler must be one of AnnealedLangevin, DDIM, " in err
    assert not {"MALA", "BlockGibbs", "MarkovChain"} & set(err.replace(",", " ").split())  # for energies
    assert call("sample", runs / "vectors", "--sampler", "UniPC") == 2
    assert "got UniPC, which needs a Denoiser" in capsys.readouterr().err
    assert call("sample", runs / "vectors", "--sampler", "nonsense") == 2
    assert "sampler must be left out for this model, which has one" in capsys.readouterr().err


def test_every_sampler_offered_is_made_by_its_name():
    """A name stands for a sampler with defaults for all settings; an interface has none."""
    from fourfold.core import view
    from fourfold.data.oracles import GaussianDenoiser
    from fourfold.estimands import Velocity
    from fourfold.maths.paths import EDM
    from fourfold.samplers import sampler_by_name, samplers

    oracle = view(GaussianDenoiser(EDM(), (0.0,), ((1.0,),)), Velocity)
    assert {"Heun", "DPMSolver", "HMC", "BlockGibbs"} <= set(samplers())
    assert all(type(sampler_by_name(name, oracle)) is kind for name, kind in samplers().items())
    with pytest.raises(ValueError, match=r"AnnealedLangevin, DDIM, .*Heun") as raised:
        sampler_by_name("MarkovChain", oracle)
    assert "HMC" not in str(raised.value)


def test_scores_are_typed_and_those_of_python(runs, tmp_path, capsys):
    assert call("score", runs / "vectors", "-n", 6, "-o", tmp_path / "a.csv") == 0
    assert "exact, 6 examples" in capsys.readouterr().out
    run = Run.load(runs / "vectors")
    nats = run.log_prob(run.dataset().test.x[:6]).nats
    written = [float(line.split(",")[1]) for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    np.testing.assert_allclose(written, nats.numpy(), atol=1e-5)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_a_file_of_one_row_is_scored(runs, tmp_path, capsys, suffix):
    assert call("sample", runs / "vectors", "-n", 1, "-o", tmp_path / f"a{suffix}") == 0
    assert call("score", runs / "vectors", tmp_path / f"a{suffix}") == 0
    assert "exact, 1 example: log p(x)" in capsys.readouterr().out


def test_a_text_is_scored(runs, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("the names of the " * 10)
    assert call("score", runs / "text", tmp_path / "a.txt") == 0
    assert "exact, 5 examples" in capsys.readouterr().out


def test_info_shows_runs_and_paradigms(runs, capsys):
    assert call("info", runs / "images") == 0
    out = capsys.readouterr().out
    assert "3 steps" in out
    assert "Denoising(" in out
    parts = out[out.index("  space ") :].splitlines()
    assert max(map(len, parts)) <= 80
    assert call("info", "adversarial") == 0
    assert "mode collapse" in capsys.readouterr().out
    assert call("info") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in recipes())
    assert max(map(len, out.splitlines())) <= 80


def test_data_is_described(capsys, tmp_path):
    assert call("data") == 0
    assert "digits" in capsys.readouterr().out
    assert call("data", "digits", "-o", tmp_path / "digits.png") == 0
    assert "1,437 train" in capsys.readouterr().out


def test_evaluate_prints_scores(runs, capsys, tmp_path):
    assert call("evaluate", runs / "vectors", "-n", 40, "-o", tmp_path / "scores.json") == 0
    assert "exact" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text())


def mistakes(runs):
    return [
        (("fit",), "give a paradigm and data"),
        (("fit", "diffusion", "nosuch"), "data must be a file or one of digits, "),
        (("fit", "dif", "digits"), "paradigm must be one of"),
        (("fit", "diffusion", "digits", "--budget", "3x"), "budget must be like 30s"),
        (("fit", "diffusion", "digits", "--size", "q"), "size must be xs, s, m"),
        (("fit", "diffusion", "digits", "--precision", "int8", "--out", "unused"), "precision must be one of float32"),
        (("fit", "diffusion", "digits", "--out", runs / "images"), "holds a run already"),
        (("fit", "--resume", "nowhere"), "nowhere/card.json is missing"),
        (("sample", "nowhere"), "model.json is missing"),
        (("sample", runs / "vectors", "--steps", "3"), "steps must be left out for"),
        (("sample", runs / "vectors", "-o", "a.png"), "for Vectors, got .png"),
        (("sample", runs / "images", "-o", "a.xyz"), "must be a name that ends in .png, .npy"),
        (("sample", runs / "images", "--given", "cat"), "class must be one of 0, 1"),
        (("sample", runs / "images", "-n", "0"), "-n"),
        (("score", runs / "vectors", "--split", "all"), "split must be train, validation or test"),
        (("info", "nowhere"), "subject must be the folder of a run or one of"),
        (("fitt",), "No such command"),
    ]


@pytest.mark.parametrize("index", range(17))
def test_a_mistake_is_one_line_and_exit_code_2(runs, capsys, index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, message = mistakes(runs)[index]
    assert call(*words) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in captured.err
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_trace(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["info", "nowhere", "--debug"])
    assert stop.value.code == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_signal_saves_and_names_the_way_back(tmp_path):
    words = ["fit", "autoregressive", "wine", "--size", "xs", "--budget", "1h", "--precision", "float32", "-o", "r"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "fourfold.main", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "r" / "log.jsonl").exists() or not (tmp_path / "r" / "log.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: fourfold fit --resume r" in err
    steps = Run.load(tmp_path / "r").card["steps"]
    assert steps >= 1
    assert call("fit", "--resume", tmp_path / "r", "--budget", f"{steps + 2} steps") == 0
    assert Run.load(tmp_path / "r").card["steps"] == steps + 2
    assert torch.isfinite(Run.load(tmp_path / "r").sample(2)).all()


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))
def test_a_paragraph_of_help_that_is_wrapped_by_hand_fits_into_80_columns(command):
    """The lines of a paragraph are printed as they are: a longer one is broken again, at an odd place."""
    paragraphs = typer.main.get_command(app).commands[command].help.split("\n\n")
    assert max([len(line) for text in paragraphs if "\n" in text for line in text.splitlines()], default=0) <= 78


def test_models_of_text_go_on_with_prompts(tmp_path, capsys):
    pytest.importorskip("tokenizers")
    (tmp_path / "t.txt").write_text("the cat sat on the mat. the dog sat on the cat.\n" * 300)
    run = tmp_path / "run"
    options = ("--tokens", "bpe:280", "--length", "32", "--size", "xs", "--budget", "30 steps", "--out", run)
    assert call("fit", "autoregressive", tmp_path / "t.txt", *options) == 0
    capsys.readouterr()
    assert call("sample", run, "--given", "the cat", "-n", "2", "--length", "8", "--top-k", "5", "--stop", ".") == 0
    output = capsys.readouterr()
    assert output.out.count("the cat") >= 2
    assert "does not follow the distribution" in output.err
    assert call("sample", run, "--given", "the cat", "--given", "a dog", "--length", "4", "--json") == 0
    assert [text[:5] for text in json.loads(capsys.readouterr().out)] == ["the c", "a dog"]
    words = ("sample", run, "--given", "the cat", "--given", "the dog", "--length", "9", "--stop", " on")
    assert call(*words, "-n", "1", "--json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert call(*words) == 0  # as the tokens come
    output = capsys.readouterr()
    assert output.out == "\n\n".join(whole) + "\n"
    assert re.fullmatch(r"[1-9]\d* tokens, [\d.e+]+ tokens/s\n", output.err)
    assert call("sample", run, "--top-p", "2") == 2
    assert "top_p must be above 0" in capsys.readouterr().err


def test_options_that_a_text_cannot_follow_are_refused(runs, tmp_path, capsys):
    """None is silently left out: steps where tokens follow one by one, guidance and classes without any."""
    for words, reason in (
        (("--steps", "3"), "steps must be left out for Ancestral"),
        (("--guidance", "2"), "unconditional"),
        (("--balance", "a"), "--balance must be left out, since a text that goes on"),
        (("--require", "a=b", "--batch-size", "2"), "--require and --batch-size must be left out"),
    ):
        assert call("sample", runs / "text", "--given", "the", *words) != 0
        assert reason in capsys.readouterr().err
    common = ("--limit", 5000, "--length", 32, "--size", "xs", "--budget", "1 step", "--precision", "float32")
    for recipe in ("blocks", "masked"):
        assert call("fit", f"diffusion/{recipe}", "python-docs", *common, "--out", tmp_path / recipe) == 0
    capsys.readouterr()
    for words, reason in (
        (("--steps", 2), "--steps"),
        (("--guidance", 0), "--guidance"),
        (("--given", "a", "--top-k", 3), "--given and the rules of drawing tokens"),
    ):
        assert call("sample", tmp_path / "masked", "--fill", "a{3}b", *words) != 0
        assert f"{reason} must be left out, since --fill" in capsys.readouterr().err
    texts = []
    for words in ((), ("--steps", 4), ("--steps", 1)):
        assert call("sample", tmp_path / "blocks", "--given", "the ", "--length", 24, *words) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]  # a block has four tokens
