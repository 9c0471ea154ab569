"""Hostile requests are refused, with a page that says why."""

import socket
import time
from pathlib import Path

import pytest
from page_client import TOKEN, Client, serving

from fourfold_web.folders import runs_of
from fourfold_web.guard import Limits


def test_the_token_moves_from_the_address_into_a_cookie(page: Client):
    answer = page.ask(f"/?token={TOKEN}", headers={"Authorization": ""})
    assert answer.status == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    opened = page.ask("/", headers={"Authorization": "", "Cookie": f"other=1; {cookie.split(';')[0]}"})
    assert opened.status == 200
    assert "shell.js" in opened.text


@pytest.mark.parametrize("path", ["/", "/api/about.json", "/api/nothing", "/?token=wrong", "/?token="])
def test_nothing_is_told_without_the_token(page: Client, path: str):
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "", "Cookie": "x=é"}):
        answer = page.ask(path, headers=headers)
        assert answer.status == 401
        assert "token" in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_other_hosts_and_origins_are_refused(page: Client, headers: dict[str, str], status: int):
    assert page.ask("/api/about.json", headers=headers).status == status


def test_the_page_loads_nothing_from_elsewhere(page: Client):
    policy = page.ask("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fserver.py",
        "/vendor/%2e%2e/%2e%2e/server.py",
        "//etc/passwd",
        "/..\\server.py",
        "/%00",
        "/" + "a" * 5000,
    ],
)
def test_no_other_file_is_read(page: Client, path: str):
    answer = page.ask(path)
    assert answer.status in (400, 404)
    assert "fourfold" in answer.text


def test_large_requests_are_refused():
    with serving(limits=Limits(body=1000)) as small:
        answer = small.ask("/api/place", b"x" * 5000)
        assert answer.status == 413
        assert "0.000954 MB" in answer.text
        with socket.create_connection(("127.0.0.1", small.port)) as connection:  # a body of unknown length
            head = f"POST /api/place HTTP/1.1\r\nHost: 127.0.0.1:{small.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
            connection.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
            connection.sendall((b"400\r\n" + b"x" * 1024 + b"\r\n") * 2)
            assert b"413" in connection.recv(100)


def test_slow_clients_are_let_go():
    with serving(limits=Limits(seconds=0.3)) as patient, socket.create_connection(("127.0.0.1", patient.port)) as slow:
        head = f"POST /api/place HTTP/1.1\r\nHost: 127.0.0.1:{patient.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        slow.sendall((head + "Content-Length: 100\r\n\r\nx").encode())
        start = time.monotonic()
        assert b"408" in slow.recv(100)
        assert time.monotonic() - start < 5
        assert patient.ask("/api/about.json").status == 200


def test_only_so_many_requests_run_at_a_time():
    with (
        serving(limits=Limits(requests=1)) as address,
        socket.create_connection(("127.0.0.1", address.port)) as slow,
    ):
        head = f"POST /api/place HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        slow.sendall((head + "Content-Length: 100\r\n\r\nx").encode())
        time.sleep(0.2)
        answer = address.ask("/api/about.json")
        assert answer.status == 503
        assert "more than 1" in answer.text


def test_folders_of_runs_get_short_names(tmp_path: Path):
    for name in ("a/vae", "b/vae", "b/deep/er/still/more"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.json").write_text("{}")
    assert [*runs_of([tmp_path])] == ["a/vae", "b/vae"]  # the last lies too deep
    assert [*runs_of([tmp_path / "a" / "vae"])] == ["vae"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="RUN must hold a run"):
        runs_of([tmp_path / "empty"])
    with pytest.raises(ValueError, match="RUN must be a folder"):
        runs_of([tmp_path / "none"])
