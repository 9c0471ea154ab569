"""`fourfold place` and `fourfold map` as commands: what they print, and what they refuse."""

import json

import pytest
import typer
from typer.testing import CliRunner

from fourfold.atlas.commands import map_, place

app = typer.Typer()
app.command()(place)
app.command("map")(map_)
ESCAPES = "\x1b]0;pwned\x07\x9b2J\x7f\u202e"
OBEYED = set("\x1b\x07\x9b\x7f\u202e\r\b")


def run(*arguments, **options):
    return CliRunner().invoke(app, list(arguments), **options)


def hostile(folder):
    """A system whose card, file name and folder name hold escapes and a line of their own."""
    system = folder / f"{ESCAPES}\nparadigm forged"
    system.mkdir()
    card = f"# x\n\nA diffusion model trained to predict {ESCAPES}the noise{ESCAPES}, sampled in 50 steps.\n"
    (system / f"README{ESCAPES}.md").write_text(card)
    (system / f"broken{ESCAPES}.json").write_text("{")
    return system


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_escapes_of_a_folder_never_reach_the_terminal(tmp_path, form, count):
    system = hostile(tmp_path)
    shown = run("place", *[str(system)] * count, *form)
    assert shown.exit_code == 0
    assert not OBEYED & set(shown.output)
    assert not any(line.startswith("paradigm forged") for line in shown.output.splitlines())
    if form:
        assert "diffusion" in str(json.loads(shown.output))


@pytest.mark.parametrize("subject", [f"./{ESCAPES}", f"{ESCAPES}\nforged", f"{ESCAPES} an image diffusion model"])
def test_escapes_of_an_argument_never_reach_the_terminal(subject):
    shown = run("place", subject)
    assert not OBEYED & set(shown.output)
    assert "\nforged" not in shown.output
