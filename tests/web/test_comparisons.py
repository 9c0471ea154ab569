"""A comparison that the page starts is a folder and a process of its own."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_client import Client, nothing_serious, opened, serving

PATIENCE = 400_000
"""Milliseconds for what trains on a machine that others share."""


@pytest.mark.parametrize(
    ("query", "noun"),
    [
        ("data=two-moons&budget=--out=/etc/x", "budget"),
        ("data=two-moons&budget=-1", "budget"),
        ("data=two-moons&size=huge", "size"),
        ("data=../../etc/passwd", "data"),
        ("data=--help", "data"),
        ("", "data"),
    ],
)
def test_what_cannot_be_compared_is_refused(page: Client, query: str, noun: str):
    answer = page.ask(f"/api/comparisons?{query}", b"")
    assert answer.status == 400
    assert noun in answer.json["error"]


@pytest.mark.parametrize("name", ["none", "..%2f..%2fetc", "%2e%2e", "a/../b", "A"])
def test_no_other_folder_is_a_comparison(page: Client, name: str):
    for path in (f"/api/comparisons/{name}.json", f"/api/comparisons/{name}/report"):
        assert page.ask(path).status in (400, 404)
    assert page.ask(f"/api/comparisons/{name}/stop", {}).status in (400, 404)


def test_a_file_without_a_format_is_refused(page: Client):
    for name in ("data=rows", "data=x.%2e%2e/y", "data=a.b/c"):
        assert page.ask(f"/api/comparisons?{name}", b"1,2").status == 400


def test_a_report_can_ask_the_page_for_nothing():
    with serving() as client:
        folder = client.folder / "mine"
        folder.mkdir()
        (folder / "command.json").write_text(json.dumps(["compare", "x.csv"]))
        (folder / "report.html").write_text("<script>fetch('/api/runs.json')</script>")
        assert client.ask("/api/comparisons.json").json[0]["report"]
        policy = client.ask("/api/comparisons/mine/report").headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts;")
        assert "connect-src" not in policy
        assert "default-src 'none'" in policy


@pytest.mark.web
def test_one_comparison_by_button_server_and_command_line(browser: Any, axe: str, tmp_path: Path):
    """The page is closed in the middle, and its server ends; the button of the next and the command line go on."""
    rows = b"x,y\n" + b"".join(b"%d,%d\n" % (i % 7, i % 5) for i in range(200))
    with serving(comparisons=tmp_path) as client:
        with opened(browser, client, 1280, "light") as tab:
            tab.goto(f"{tab.url.split('#')[0]}#/compare")
            tab.select_option("select >> nth=0", "")
            tab.set_input_files("input[type=file]", {"name": "My Rows.csv", "mimeType": "text/csv", "buffer": rows})
            tab.fill("input[type=text]", "60 steps")  # some are left when it is stopped
            tab.click("text=Start")
            tab.wait_for_selector("h1:text-is('my-rows')")
            assert "one comparison" in client.ask("/api/comparisons?data=digits", b"").json["error"]
            tab.wait_for_selector(".racer progress", timeout=PATIENCE)
        wait(lambda: any(run["done"] for run in client.ask("/api/comparisons/my-rows.json").json["runs"]))
        client.ask("/api/comparisons/my-rows/stop", {})
        wait(lambda: not client.ask("/api/comparisons/my-rows.json").json["running"])
    results = {path: path.read_bytes() for path in tmp_path.glob("my-rows/runs/*/result.json")}
    assert results
    with serving(comparisons=tmp_path) as client:
        with opened(browser, client, 390, "dark") as tab:
            tab.goto(f"{tab.url.split('#')[0]}#/compare")
            tab.click("a.card:has-text('my-rows')")
            tab.click("text=Go on")
            tab.wait_for_selector("button:text-is('Stop')", timeout=PATIENCE)
        wait(lambda: len(client.ask("/api/comparisons/my-rows.json").json["runs"]) > len(results))
        client.ask("/api/comparisons/my-rows/stop", {})
        wait(lambda: not client.ask("/api/comparisons/my-rows.json").json["running"])
        state = client.ask("/api/comparisons/my-rows.json").json
        words = shlex.split(state["command"].partition(" && fourfold ")[2])
        subprocess.run(
            [sys.executable, "-m", "fourfold", *words], cwd=tmp_path / "my-rows", check=True, capture_output=True
        )
        with opened(browser, client, 1280, "dark") as tab:
            tab.goto(f"{tab.url.split('#')[0]}#/compare/my-rows")
            tab.wait_for_selector("text=Open the report")
            nothing_serious(tab, axe)  # not while the models race, which may end before it does
            with tab.context.expect_page() as report:
                tab.click("text=Open the report")
            assert "flow" in report.value.inner_text("body")
    assert {path: path.read_bytes() for path in results} == results
    assert (tmp_path / "my-rows" / "data.csv").read_bytes() == rows


def wait(done: Callable[[], object], seconds: float = PATIENCE / 1000) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.5)
