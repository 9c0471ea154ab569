"""The benchmark of images beside peers: a peer runs in a process of its own, and the table holds it beside fourfold."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import beside
import peers


def run(system: str, seed: int, distance: float, kernels: str = "") -> dict:
    about = {"kernels": kernels, "paradigm": "diffusion", "system": system, "seed": seed}
    return about | {"frechet": distance, "steps": 10, "seconds": 120.0}


def test_a_peer_trains_for_its_seconds_and_hands_over_images(tmp_path):
    np.save(tmp_path / "train.npy", np.random.default_rng(0).integers(0, 256, (128, 1, 28, 28), dtype=np.uint8))
    about = beside.run_peer(Path(sys.executable), "image_peers.py", ("DCGAN", tmp_path, 0.5, 5, 0), tmp_path)
    images = np.load(tmp_path / "made.npy")
    assert about["steps"] >= 1
    assert about["seconds"] >= 0.5
    assert (images.shape, images.dtype) == ((5, 1, 28, 28), np.uint8)
    assert images.std() > 0


def test_a_peer_that_fails_leaves_the_last_line_of_its_error(tmp_path):
    about = beside.run_peer(Path(sys.executable), "image_peers.py", ("DCGAN", tmp_path, 0.5, 5, 0), tmp_path)
    assert set(about) == {"note"}
    assert "train.npy" in about["note"]


def test_the_table_has_means_over_seeds_and_the_ratio_to_the_peer_on_the_same_kernels():
    runs = [run("diffusers", 0, 400.0), run("diffusers", 1, 600.0), run("fourfold", 0, 90.0), run("fourfold", 1, 110.0)]
    runs += [run("diffusers", 0, 1000.0, "AVX2"), run("fourfold", 0, 600.0, "AVX2")]
    rows = {(row["kernels"], row["system"]): row for row in peers.table(runs)}
    assert rows["all", "fourfold"]["Frechet distance"] == pytest.approx(100)
    assert rows["all", "fourfold"]["of each seed"] == "90, 110"
    assert rows["all", "fourfold"]["of the peer's"] == "0.20"
    assert rows["AVX2", "fourfold"]["of the peer's"] == "0.60"
    assert rows["all", "diffusers"]["of the peer's"] == ""


def test_a_peer_that_failed_has_a_row_without_figures():
    failed = {"kernels": "", "paradigm": "diffusion", "system": "diffusers", "seed": 0, "note": "no such module"}
    rows = peers.table([failed, run("fourfold", 0, 90.0)])
    assert (rows[0]["Frechet distance"], rows[0]["remark"]) == ("", "no such module")
    assert rows[1]["of the peer's"] == ""


def test_an_unknown_paradigm_is_refused_before_anything_is_loaded(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["peers.py", "--peers-env", str(tmp_path), "--only", "energy"])
    with pytest.raises(SystemExit):
        peers.main()
    assert "no peer of energy: choose among latent-variable, adversarial, diffusion" in capsys.readouterr().err
