"""Prompts on the command line: a run on a folder with captions, sampled and scored without the folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from fourfold import main
from fourfold.engine import Run
from fourfold.nn import text_encoder
from fourfold.spaces import Images
from fourfold.spaces.images import prompted


@pytest.fixture(scope="module")
def folder_of_run(tmp_path_factory):
    """A folder of two colours with captions, and a run on it whose encoder is trained along."""
    root = tmp_path_factory.mktemp("captions")
    (root / "images").mkdir()
    for i in range(30):
        colour, shade = (("red", (200, i, 0)), ("blue", (0, i, 200)))[i % 2]
        Image.new("RGB", (8, 8), shade).save(root / "images" / f"{i}.png")
        (root / "images" / f"{i}.txt").write_text(f"{colour} square")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoder, "_folder", lambda package: None)
        fit = ["fit", "diffusion", f"{root}/images", "--given", "labels", "--size", "xs", "--budget", "3 steps"]
        assert main.run([*fit, "--precision", "float32", "--out", f"{root}/run"], False) == 0
    return root


def run(words, capsys):
    code = main.run(words, False)
    seen = capsys.readouterr()
    return code, " ".join((seen.out + seen.err).split())


def test_prompts_make_a_sheet(folder_of_run, capsys):
    folder, out = str(folder_of_run / "run"), folder_of_run / "sheet.png"
    words = ["sample", folder, "--given", "red square", "--given", "", "-n", "3", "--guidance", "2", "-o", str(out)]
    code, said = run(words, capsys)
    assert (said, code) == (str(out), 0)
    assert np.asarray(Image.open(out)).min() < 100
    arrays = [folder_of_run / f"{name}.npy" for name in ("prompt", "none")]
    assert run(["sample", folder, "--given", "", "-n", "3", "-o", str(arrays[0])], capsys)[0] == 0
    assert run(["sample", folder, "-n", "3", "-o", str(arrays[1])], capsys)[0] == 0
    assert np.array_equal(*map(np.load, arrays))


def test_a_run_of_captions_is_scored_and_shown(folder_of_run, capsys):
    code, said = run(["score", str(folder_of_run / "run"), "-n", "2"], capsys)
    assert code == 0
    assert "bits/dim" in said
    loaded = Run.load(folder_of_run / "run")
    assert loaded.model.space.given.text.length - 1 == 128
    assert loaded.sample(2, ["red square", "blue square"]).shape == (2, 3, 8, 8)
    assert "Lines(" in run(["info", str(folder_of_run / "run")], capsys)[1]


def test_refusals(folder_of_run, capsys):
    folder = str(folder_of_run / "run")
    assert "must have at most 128 bytes, got 200" in run(["sample", folder, "--given", "a" * 200], capsys)[1]


def test_prompts_stand_below_their_images():
    x = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    sheet = prompted(x, Images(3, 64, 64), ["red"], columns=4)
    both = prompted(x, Images(3, 64, 64), ["red", "a long prompt that needs more lines than one below them"], columns=2)
    assert sheet.width == 4 * 64 + 3 * 2
    assert sheet.height > 64
    assert np.asarray(sheet)[66:].min() < 128  # ink
    assert (np.asarray(sheet)[:64, :64] == 0).all()
    assert both.width == 2 * 64 + 2
    assert both.height > 2 * sheet.height
