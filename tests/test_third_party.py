"""A paradigm from outside: one file, found by its entry point, that passes every check and has a name in the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "mixture"

SCRIPT = """
import torch
from fourfold import checks
from fourfold.paradigms import build, cards, recipes
from fourfold.spaces import Images, Vectors

assert "mixture" in cards() and "mixture" in recipes()
for space in (Vectors(3), Vectors(2, classes=3)):
    torch.manual_seed(0)
    checks.check_model(build("mixture", space, "xs"))
try:
    build("mixture", Images(1, 8, 8), "xs")
except TypeError as error:
    assert "Images" in str(error)

from fourfold.data import load
import fourfold

moons = load("gaussian-mixture", limit=2000)
run = fourfold.fit("mixture", moons, budget="300 steps", size="xs", run_dir="run")
again = fourfold.Run.load("run")
x = moons.test.x[:100]
assert torch.equal(again.log_prob(x).nats, run.log_prob(x).nats)
assert run.log_prob(x).nats.mean() <= moons.density.log_prob(x).mean() + 0.2
assert run.log_prob(x).nats.mean() > moons.density.log_prob(x).mean() - 0.5
"""


@pytest.fixture
def environment(tmp_path):
    """What ``pip install ./examples/mixture`` leaves behind: the module and a record of its entry point."""
    record = tmp_path / "site" / "fourfold_mixture-0.1.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: fourfold-mixture\nVersion: 0.1\n")
    (record / "entry_points.txt").write_text("[fourfold.paradigms]\nmixture = fourfold_mixture\n")
    paths = [str(tmp_path / "site"), str(EXAMPLE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), "OMP_NUM_THREADS": "1"}


def run(arguments, environment, folder):
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_found_checked_trained_and_loaded(environment, tmp_path):
    run(["-W", "error", "-c", SCRIPT], environment, tmp_path)


def test_the_command_line_and_the_report_know_it(environment, tmp_path):
    assert "mixture" in run(["-m", "fourfold", "info"], environment, tmp_path)
    arguments = ["compare", "two-moons", "--paradigms", "mixture", "--budget", "50 steps", "--size", "xs"]
    run(["-m", "fourfold", *arguments, "--out", "report.html"], environment, tmp_path)
    assert "mixture" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_example_is_one_short_file():
    code = (EXAMPLE / "fourfold_mixture.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in code) < 80
