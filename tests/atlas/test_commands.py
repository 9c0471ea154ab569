"""`fourfold place` and `fourfold map` as commands: what they print, and what they refuse."""

import base64
import hashlib
import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from fourfold_atlas import drawing
from fourfold_atlas.commands import map_, place
from paper import paper

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


@pytest.mark.parametrize("text", [b"\x00\x01\x02" * 50, b""])
def test_standard_input_that_holds_no_text_gives_one_line(text):
    shown = run("place", "-", input=text)
    assert shown.exit_code == 2
    assert shown.output.count("\n") == 1
    assert shown.output.startswith("error: ")


def test_a_closed_standard_input_gives_one_line():
    shown = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m fourfold place - <&-"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 2
    assert shown.stderr == "error: standard input must be a text, got a closed stream: give it as an argument\n"


def test_a_text_or_a_configuration_can_be_piped_in():
    assert run("place", "-", input="predict the added noise, remove it in 50 steps").output.startswith("predict the")
    config = '{"architectures": ["SomeForCausalLM"], "model_type": "some"}'
    assert "autoregressive" in run("place", "-", input=config).output.splitlines()[0]


def test_nothing_is_refused_with_the_way_out():
    for nothing in ("", " "):
        shown = run("place", nothing)
        assert shown.exit_code == 2
        assert "must be a name" in shown.output


@pytest.mark.parametrize(
    ("card", "verdict", "quote"),
    [
        ("# Thing\n\nIt is small.\n\nWe train a normalizing flow by the change of variables.", "flow", "README.md:5"),
        ("# Thing\n\nNo word.", "not decided", ""),
    ],
)
def test_the_verdict_and_its_best_quote_come_first(tmp_path, card, verdict, quote):
    (tmp_path / "README.md").write_text(card)
    lines = run("place", str(tmp_path)).output.splitlines()
    assert lines[0].startswith(f"{tmp_path.name}: {verdict}")
    assert quote in " ".join(lines[1:4])
    assert all(len(line) <= 80 for line in lines)
    for name, opening in (("Stable Diffusion", "  “"), ("x" * 300 + " image diffusion model", "  no clause states it")):
        lines = run("place", name).output.splitlines()
        assert "diffusion (" in lines[0]
        assert lines[1].startswith(opening)
        assert "]" in "".join(lines[1:4])
        assert all(len(line) <= 80 for line in lines)


def test_quotes_are_whole_words(tmp_path):
    card = (
        "# Thing\n\nAn extraordinarily well-behaved network regresses backpropagated noise-predictions unhesitatingly."
    )
    (tmp_path / "README.md").write_text(card)
    words = set(card.split())
    rows = json.loads(run("place", str(tmp_path), "--json").output)["evidence"]
    quotes = [row["quote"] for row in rows if not row["claim"].startswith("leans")]
    assert quotes
    assert {word for quote in quotes for word in quote.split()} <= words


def test_a_hostile_name_puts_nothing_into_the_map(tmp_path):
    """The page was once built by replacing one mark after the other: a system named like a mark had the next
    part put into it.
    """
    attack = "<img src=x onerror=document.title=1337>"
    for name in ("%DATA%", attack, "%MAP%", "</script><script>alert(1)</script>"):
        system = tmp_path / name.replace("/", "")
        system.mkdir()
        (system / "README.md").write_text("A diffusion model trained to predict the noise. " + attack)
    page = tmp_path / "map.html"
    shown = run("place", *map(str, sorted(tmp_path.iterdir())), "--map", str(page))
    assert shown.exit_code == 0
    text = page.read_text()
    assert attack not in text
    assert text.count("<script") == text.count("</script>") == 2
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert {"%DATA%", "%MAP%", attack} <= {dot["name"] for dot in data["dots"]}
    assert "<title>%DATA%</title>" in text


def test_the_map_runs_no_script_but_its_own():
    page = drawing.html([])
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page).group(1)
    assert page.index("Content-Security-Policy") < page.index("<script")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", page.split("</head>")[1].split("<script")[0])


def test_a_paper_is_placed_by_its_text_alone_and_beside_other_files(tmp_path):
    pytest.importorskip("pypdf")
    (tmp_path / "paper.pdf").write_bytes(paper("We train a network to predict the noise added to an image."))
    (tmp_path / "settings.yaml").write_text("seed: 3\n")
    for arguments in ([tmp_path / "paper.pdf"], ["--together", tmp_path / "settings.yaml", tmp_path / "paper.pdf"]):
        shown = run("place", *map(str, arguments))
        assert "diffusion" in shown.output.splitlines()[0]
        assert "predict the noise" in shown.output


def test_a_broken_paper_gives_one_line(tmp_path):
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4 broken")
    shown = run("place", str(tmp_path / "paper.pdf"))
    assert shown.exit_code == 2
    assert len(shown.output.splitlines()) == 1
    assert "paper.pdf" in shown.output


def test_a_notebook_is_placed_by_its_text_where_its_code_states_nothing(tmp_path):
    prose = {"cell_type": "markdown", "source": "We train a network to predict the noise added to an image."}
    game, plot = "loss_D = bce(D(x), real) + bce(D(G(z)), fake)\nloss_D.backward()", "import pylab\npylab.plot(x)"
    for source, cell in ((plot, "diffusion"), (game, "adversarial")):
        cells = [prose, {"cell_type": "code", "source": source}]
        (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
        shown = run("place", str(tmp_path / "a.ipynb"))
        assert cell in shown.output.splitlines()[0]
        assert f"cell {1 if source == plot else 2}" in shown.output
