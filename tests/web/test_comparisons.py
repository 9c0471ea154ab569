"""A comparison that the page starts is a folder and a process of its own."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from page_client import Client, serving


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
def test_a_comparison_is_stopped_and_the_command_line_goes_on():
    with serving() as client:
        rows = b"x,y\n" + b"".join(b"%d,%d\n" % (i % 7, i % 5) for i in range(200))
        name = client.ask("/api/comparisons?data=My%20Rows.csv&budget=5+steps", rows).json["name"]
        assert name == "my-rows"
        assert "one comparison" in client.ask("/api/comparisons?data=digits", b"").json["error"]
        wait(lambda: client.ask(f"/api/comparisons/{name}.json").json["runs"])
        client.ask(f"/api/comparisons/{name}/stop", {})
        wait(lambda: not client.ask(f"/api/comparisons/{name}.json").json["running"])
        state = client.ask(f"/api/comparisons/{name}.json").json
        assert state["command"].endswith("--out=report.html")
        assert (Path(client.folder) / name / "data.csv").read_bytes() == rows


def wait(done: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.5)
