"""The exported page needs no server: every module is inside, and all data lies beside it."""

import base64
import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fourfold.cli.app import app
from fourfold_web import zoo
from fourfold_web.animation import SIDE, animation, positions
from fourfold_web.export import STATIC, export_page, import_map, page
from fourfold_web.traces import traced


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    result = CliRunner().invoke(app, ["export-page", "zoo:two-moons/flow", "-o", str(out)])
    assert result.exit_code == 0, result.output
    return out


def value_of(path: Path):
    return json.loads(path.read_text(encoding="utf-8").partition(" = ")[2].rstrip().removesuffix(";"))


def test_modules_import_each_other_by_names_that_the_page_maps():
    names = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")}
    urls = import_map({name: (STATIC / name).read_text(encoding="utf-8") for name in names})["imports"]
    assert {url.removeprefix("fourfold/") for url in urls} == names
    for url in urls.values():
        text = base64.b64decode(url.partition(",")[2]).decode()
        asked = re.findall(r"""(?:from\s*|import\s*\(?\s*)["']([^"']+\.js)["']""", text)
        assert set(asked) <= set(urls)


def test_the_page_loads_nothing_but_its_data(folder: Path):
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)="(?!data:|#)[^"]*\.(?:js|css|svg|png)""", text)
    assert 'data-live="false"' in text
    sets = value_of(folder / "api" / "traces.js")["sets"]
    for data, names in sets.items():
        for name in names:
            frames = value_of(folder / "api" / "traces" / data / f"{name}.js")["frames"]
            assert frames[-1]["caption"].startswith("samples")


def test_a_run_is_on_the_page(folder: Path):
    run = value_of(folder / "api" / "run.js")
    assert run["data"] == "two-moons"
    assert run["answers"]["paradigm"] == "flow"
    assert run["trace"]["panels"][-1]["layers"][-1]["kind"] == "points"
    assert 'data-run="true"' in (folder / "index.html").read_text(encoding="utf-8")
    assert 'data-run="true"' not in page()


def test_the_report_of_the_comparison_comes_along(tmp_path: Path):
    from fourfold import Run

    run = Run.load("zoo:two-moons/energy", "cpu").save(tmp_path / "runs" / "energy")
    (tmp_path / "report.html").write_text("<p>report")
    export_page(tmp_path / "page", run)
    assert (tmp_path / "page" / "report.html").read_text() == "<p>report"


def test_a_folder_of_a_run_is_refused(tmp_path: Path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ValueError, match="--out"):
        export_page(tmp_path)


def test_the_animation_is_small_and_ends_at_the_samples():
    shown = traced(zoo.folder_of("two-moons/flow"), "two-moons")
    points = next(layer for layer in shown.panels[-1].layers if layer.kind == "points")
    states = positions(shown, points)
    torch.testing.assert_close(states[-1], points.values[-1])
    torch.testing.assert_close(states[0], points.values[0])
    text = animation({"flow": shown, "again": shown}, points=50)
    assert text.count("<animateMotion") == 2 * 50
    assert len(text) < 1_500_000 / 3
    assert f'width="{SIDE}"' in text
