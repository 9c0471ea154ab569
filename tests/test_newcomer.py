"""Every command as a newcomer meets it: help, defaults, refusals in one plain line, formats, terminals."""

import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import fourfold
from fourfold.cli.app import app
from fourfold.core import Beside
from fourfold.data import load, summaries
from fourfold.data.writers import as_lines, write_examples
from fourfold.engine import Run
from fourfold.machine.hardware import find_device
from fourfold.main import of_system, run
from fourfold.spaces import Images, Text, Vectors


def call(*words):
    return run([str(word) for word in words], False)


def refusal(capsys, *words, code=2):
    capsys.readouterr()
    assert call(*words) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def commands():
    return {command.name or command.callback.__name__: command.callback for command in app.registered_commands}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on images by class and on a table by class."""
    folder = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a,b": rng.normal(size=60), "=1+2": rng.normal(size=60), "two\nlines": rng.normal(size=60)})
    frame["grade"] = ["=low", "-1", "high"] * 20
    frame.to_parquet(folder / "t.parquet")
    common = ("--given", "labels", "--size", "xs", "--budget", "1 steps", "--precision", "float32")
    folders = {
        "images": ("diffusion", "digits"),
        "table": ("autoregressive", folder / "t.parquet", "--labels", "grade"),
    }
    for name, words in folders.items():
        assert call("fit", *words, *common, "--out", folder / name) == 0
    return folder


# --- help -------------------------------------------------------------------------------------------------------------


def test_no_command_is_help_and_no_error(capsys):
    assert call() == 0
    captured = capsys.readouterr()
    assert "Usage: fourfold" in captured.out
    assert not captured.err


def test_every_default_is_told_and_short_help_works(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for name, callback in commands().items():
        assert call(name, "-h") == 0
        text = " ".join(re.sub(r"[│\s]+", " ", capsys.readouterr().out).split())
        for parameter in inspect.signature(callback, eval_str=True).parameters.values():
            default = getattr(getattr(parameter.annotation, "__metadata__", [None])[0], "show_default", True)
            if isinstance(default, str):
                assert f"[default: ({default})]" in text
        assert not re.search(r"\bOf (images|each|every|a text)\b", text)


def test_help_fits_a_terminal_of_80_columns_and_each_panel_40_lines(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in commands():
        assert call(name, "--help") == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        starts = [i for i, line in enumerate(lines) if line.startswith("╭")]
        assert max(lines.index(next(end for end in lines[i:] if end.startswith("╰")), i) - i for i in starts) < 40


def test_the_shell_completes_commands():
    environment = {**os.environ, "_FOURFOLD_COMPLETE": "complete_bash", "COMP_WORDS": "fourfold sa", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "fourfold"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["sample"]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit", "difusion", "digits"), "got 'difusion'; did you mean 'diffusion'?"),
        (("fit", "diffusion/velocty", "digits"), "did you mean 'diffusion/velocity'?"),
        (("fit", "Diffusion", "digits"), "did you mean 'diffusion'?"),
        (("fit", "diffusion", "nope"), "data must be a file or one of digits, "),
        (("fit", "diffusion", "digit"), "did you mean 'digits'?"),
        (("fit", "diffusion", "digits", "--budget", "10"), "must have a unit, got '10': give 10s, 10m, '10 steps'"),
        (("fit", "diffusion", "digits", "--learning-rate", "-1"), "--learning-rate"),
        (("fit", "diffusion", "digits", "--learning-rate", "0"), "batch_size must be positive, got 0.0"),
        (("fit", "diffusion", "digits", "--seed", "-1"), "--seed"),
        (("fit", "diffusion", "digits", "--checkpoint-every", "-1"), "--checkpoint-every"),
        (("fit", "diffusion", "digits", "--batch-size", "0"), "--batch-size"),
        (
            ("fit", "diffusion", "digits", "--device", "foo"),
            "device must be auto, cpu, cuda, cuda:0 or mps, got 'foo'",
        ),
        (
            ("fit", "diffusion", "digits", "--fractions", "a,b"),
            "--fractions must be numbers such as 0.8,0.1,0.1, got 'a,b'",
        ),
        (
            ("fit", "diffusion", "digits", "--image-size", "8"),
            "size must be left out for digits, a built-in set, got --image-size 8",
        ),
        (("data", "python-docs", "--image-size", "8"), "got --image-size 8 (in Python: size=(8, 8))"),
        (("flow/maf",), "No such command"),
        (("fit", "flow/maf", "python-docs"), "for this recipe, got Text; use autoregressive"),
    ],
)  # fmt: skip
def test_mistakes_get_one_short_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    line = refusal(capsys, *words)
    assert message in line
    assert len(line) < 400


def test_a_list_of_samplers_does_not_mind_capitals(runs, tmp_path, capsys):
    calls = []
    for name in ("heun", "HEUN", "euler-maruyama", "EulerMaruyama"):
        words = ("-n", 2, "--sampler", name, "--steps", 2, "--out", tmp_path / "a.npy")
        assert call("sample", runs / "images", *words) == 0
        calls.append(np.load(tmp_path / "a.npy"))
    assert np.array_equal(calls[0], calls[1])
    assert np.array_equal(calls[2], calls[3])


def test_what_the_system_refuses_names_the_file_and_the_way_out(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = refusal(capsys, "sample", runs / "table", "-n", 2, "--out", tmp_path / "file" / "a.csv")
    assert "Errno" not in line
    assert f"{tmp_path / 'file' / 'a.csv'}: cannot be written" in line
    (tmp_path / "d.csv").mkdir()
    assert "d.csv" in refusal(capsys, "score", runs / "table", "-n", 2, "--out", tmp_path / "d.csv")
    assert of_system(FileExistsError(17, "File exists", "a.csv")) == "a.csv: file exists: choose another name"
    assert of_system(OSError(28, "No space left on device")) == (
        "no space left on device: free some space, or write elsewhere"
    )


def test_nobody_is_told_to_install_os(runs, tmp_path, capsys):
    import json
    import shutil

    shutil.copytree(runs / "table", tmp_path / "r")
    model = json.loads((tmp_path / "r" / "model.json").read_text())
    model["sampler"]["type"] = "os:system"
    (tmp_path / "r" / "model.json").write_text(json.dumps(model))
    line = refusal(capsys, "sample", tmp_path / "r")
    assert "'os:system'" in line
    assert "install it" not in line


def test_info_of_a_run_that_has_not_begun_its_last_stage(tmp_path, capsys):
    import json

    words = ("--size", "xs", "--budget", "6 steps", "--precision", "float32", "--out", tmp_path / "r")
    assert call("fit", "latent-flow", "two-moons", *words) == 0
    card = json.loads((tmp_path / "r" / "card.json").read_text())
    del card["precision"]
    (tmp_path / "r" / "card.json").write_text(json.dumps({**card, "done": False}))
    assert call("info", tmp_path / "r") == 0
    assert "chosen when the last stage begins" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_devices_that_are_not_there_are_refused(runs, capsys):
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    for command in ("sample", "score", "evaluate"):
        line = refusal(capsys, command, runs / "table", "--device", "cuda")
        assert "device 'cuda': there is no CUDA device here" in line
        assert "choose auto or cpu" in line
    with pytest.raises(ValueError, match="there is no Apple GPU here"):
        find_device("mps")
    with pytest.raises(ValueError, match=r"device must be .* got 'cpu:x'"):
        find_device("cpu:x")


def test_a_device_without_float64_is_passed_over(monkeypatch):
    zeros = torch.zeros

    def no_double(*size, device=None, **options):
        if torch.device(device or "cpu").type == "mps":
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return zeros(*size, device=device, **options)

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "zeros", no_double)
    assert find_device() == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'mps': it does not compute in float64"):
        find_device("mps")


# --- data -------------------------------------------------------------------------------------------------------------


def test_built_in_sets_are_listed_with_size_and_kind(capsys):
    assert call("data") == 0
    out = capsys.readouterr().out
    assert "digits            1,797 grey images of handwritten digits" in out
    assert max(map(len, out.splitlines())) <= 80
    assert all(re.search(r"\d", line) for line in summaries().values())


def test_own_photographs_are_read_as_they_are(tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(30):
        shape = (40 + i, 30 + 2 * i) if i % 3 else (50, 60, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    assert call("data", tmp_path / "photos") == 0
    assert "note       resized" in capsys.readouterr().out
    words = ("--size", "xs", "--budget", "1 steps", "--precision", "float32", "--out", tmp_path / "r")
    assert call("fit", "adversarial", tmp_path / "photos", "--image-size", 8, "--channels", 1, *words) == 0
    run = Run.load(tmp_path / "r")
    assert run.model.space == Images(1, 8, 8)
    assert len(run.dataset().test) == 3  # read again as it was read for training


def test_escapes_of_names_do_not_reach_the_terminal(tmp_path, capsys):
    name = "t\x1b]0;pwned\x07.csv"
    (tmp_path / name).write_text("a\x1b[2J,b\n" + "".join(f"{i},{i % 7}\n" for i in range(30)))
    assert call("data", tmp_path / name) == 0
    for words in (("data", tmp_path / name, "--labels", "c"), ("data", tmp_path / "\x1b[2J")):
        assert call(*words) == 2
    (tmp_path / "images" / "\x1b[31mred").mkdir(parents=True)
    for i in range(20):
        Image.new("L", (4, 4), i).save(tmp_path / "images" / "\x1b[31mred" / f"{i}.png")
    assert call("data", tmp_path / "images") == 0
    captured = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(captured.out + captured.err)
    assert "\\u001b[2J" in captured.out


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_of_a_class_carry_their_label(runs, tmp_path, capsys):
    run = Run.load(runs / "table")
    x = run.sample(4, "=low", seed=3).numpy()
    for suffix in (".csv", ".parquet", ".npz", ".CSV"):
        words = ("-n", 4, "--given", "=low", "--seed", 3, "--out", tmp_path / f"a{suffix}")
        assert call("sample", runs / "table", *words) == 0
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert list(table) == ["a,b", "=1+2", "two\nlines", "grade"]
    assert set(table["grade"]) == {"=low"}
    np.testing.assert_allclose(table.iloc[:, :3].to_numpy(), x)
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["x"], x)
        assert set(arrays["y"]) == {"=low"}
    # a spreadsheet runs nothing, and what is read again is what was written
    cells = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert list(cells) == ["a,b", "'=1+2", "two\nlines", "grade"]
    assert set(cells["grade"]) == {"'=low"}
    part, notes = run.examples(tmp_path / "a.csv")
    np.testing.assert_allclose(part.x.numpy(), x, rtol=1e-6)
    assert part.cond.tolist() == [run.model.space.given.names.index("=low")] * 4
    assert not notes
    capsys.readouterr()
    assert call("sample", runs / "table", "-n", 4, "--given", "-1", "--seed", 3, "-o", "-") == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 6  # a header of two lines
    assert all(line.endswith(",-1") for line in printed[2:])


def test_images_become_a_folder_that_can_be_read_again(runs, tmp_path, capsys):
    assert call("sample", runs / "images", "-n", 12, "--given", 7, "--steps", 1, "--out", tmp_path / "out") == 0
    x = Run.load(runs / "images").sample(12, 7, steps=1)
    names = sorted(path.name for path in (tmp_path / "out" / "7").iterdir())
    assert names[0] == "00.png"
    assert names[-1] == "11.png"
    again = torch.stack(
        [torch.from_numpy(np.array(Image.open(tmp_path / "out" / "7" / name))).float() * 16 / 255 for name in names]
    )
    assert torch.equal(again.round().to(torch.uint8), x[:, 0])
    line = refusal(capsys, "sample", runs / "images", "-n", 1, "--steps", 1, "--out", tmp_path / "out")
    assert "must be an empty folder" in line


def test_formats_that_do_not_suit_are_refused_with_those_that_do(tmp_path):
    x = torch.zeros(2, 3)
    tables = r"\.csv, \.parquet, \.jsonl, \.xlsx"
    with pytest.raises(ValueError, match=rf"a\.png: must be .*\.npy, \.npz, {tables} for Vectors, got \.png$"):
        write_examples(tmp_path / "a.png", x, Vectors(3))
    with pytest.raises(ValueError, match="for Vectors, got a folder"):
        write_examples(tmp_path / "a", x, Vectors(3))
    with pytest.raises(ValueError, match=r"a\.xls: must be .*\.png, .*, or a folder for Images, got \.xls$"):
        write_examples(tmp_path / "a.xls", torch.zeros(1, 1, 2, 2, dtype=torch.uint8), Images(1, 2, 2))
    with pytest.raises(ValueError, match=r"for Images, got \.txt"):
        write_examples(tmp_path / "a.txt", torch.zeros(1, 1, 2, 2, dtype=torch.uint8), Images(1, 2, 2))
    assert as_lines(torch.tensor([[0, 1], [1, 1]]), Text("ab", 2)) == "ab\n\nbb"
    assert as_lines(x[:1], Vectors(3), Beside(pd.DataFrame({"x0": ["a"]}), ["a"])) == "x0,x1,x2,x0 (class)\n0,0,0,a"


# --- Python -----------------------------------------------------------------------------------------------------------


def test_arrays_tensors_and_tables_are_data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "k": y})
    digests = {load(x, labels=y).digest, load(torch.tensor(x), labels=torch.tensor(y)).digest}
    digests.add(load(frame, labels="k").digest)
    assert len(digests) == 1
    assert load(frame, labels="k").space.columns == ("a", "b")
    assert load(x, labels=y, given="labels").space.given.count == 2
    copy = x.copy()
    load(x).train.x.add_(1)
    assert np.array_equal(copy, x)
    run = fourfold.fit("autoregressive", frame, budget="1 steps", size="xs", precision="float32")
    assert run.model.space.columns == ("a", "b", "k")
    assert len(run.evaluate(n=4)) > 3
    with pytest.raises(ValueError, match=r"must be a name, a path, a NumPy array, .* got set"):
        load({1.0, 2.0})
    with pytest.raises(ValueError, match="images must be uint8, got float64"):
        load(rng.random((40, 8, 8)))


def test_a_run_on_data_in_memory_says_so_when_it_is_gone(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 2))
    options = {"budget": "1 steps", "size": "xs", "precision": "float32", "out": tmp_path / "r"}
    fourfold.fit("autoregressive", x, data_options={"labels": np.arange(40) % 2, "given": "labels"}, **options)
    run = Run.load(tmp_path / "r")
    with pytest.raises(ValueError, match="<data in memory> must be given again"):
        run.dataset()
    assert len(run.examples(x)[0]) == 40


def test_a_run_is_shown_in_a_line(runs):
    run = Run.load(runs / "table")
    assert (
        repr(run)
        == f"Run('{runs / 'table'}': autoregressive on {runs / 't.parquet'}, 1 steps in {run.card['seconds']:.4g} s)"
    )
    assert "Run(Denoising on grey images of 8 x 8" in repr(Run(Run.load(runs / "images").model))


def test_python_draws_as_the_command_line_does(runs, tmp_path):
    words = ("-n", 3, "--given", "3", "--sampler", "heun", "--steps", 2, "--guidance", 2, "--seed", 5)
    assert call("sample", runs / "images", *words, "--out", tmp_path / "a.npy") == 0
    run = Run.load(runs / "images")
    x = run.sample(3, "3", 5, sampler="Heun", steps=2, guidance=2.0)
    assert np.array_equal(np.load(tmp_path / "a.npy"), x.numpy())
    with pytest.raises(ValueError, match=r"must be one of 0, 1, 2, .*got 'cat'"):
        run.sample(2, "cat")
    with pytest.raises(ValueError, match="steps must be left out for Ancestral"):
        Run.load(runs / "table").sample(2, steps=3)


def test_a_number_is_a_budget_in_seconds():
    with pytest.warns(UserWarning, match=r"1 step in 0.01s: the model is hardly trained; give a longer budget"):
        run = fourfold.fit("autoregressive", "wine", budget=0.01, size="xs", precision="float32")
    assert run.card["budget"] == "0.01s"
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        fourfold.fit("autoregressive", "wine", budget="1 steps", seed=-1)
