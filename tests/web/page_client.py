"""The page on a port of this machine, and a client that speaks HTTP to it."""

import http.client
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("starlette", reason="starlette must be installed for the page: pip install '.[web]'")
pytest.importorskip("uvicorn", reason="uvicorn must be installed for the page: pip install '.[web]'")

from fourfold_web.guard import LIMITS, Limits
from fourfold_web.server import App, server_of
from fourfold_web.serving import bound

TOKEN = "t" * 32


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self):
        return json.loads(self.text)


class Client:
    """Speaks to the page, with its token unless another header is named."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self.port, self.address = port, f"http://127.0.0.1:{port}/?token={TOKEN}"

    def ask(self, path: str, body: object = None, headers: Mapping[str, str] = {}, method: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        own = {"Authorization": f"Bearer {TOKEN}", **headers}
        connection.request(method or ("GET" if body is None else "POST"), path, content, own)
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
        connection.close()
        return answer


@contextmanager
def serving(
    runs: Mapping[str, Path] = {}, limits: Limits = LIMITS, comparisons: Path | None = None
) -> Iterator[Client]:
    """The page in a thread. Comparisons are thrown away unless a folder is named."""
    folder = tempfile.TemporaryDirectory()
    place = comparisons or Path(folder.name)
    listener = bound(0)
    port = listener.getsockname()[1]
    server = server_of(App(runs, TOKEN, port, limits, place))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Client(port, place)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        folder.cleanup()


FORMS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
"""Widths and themes in which everything is looked at."""


def nothing_serious(tab: Any, axe: str, forms: Sequence[tuple[int, str]] = FORMS) -> None:
    """Hold all that is shown against axe and against the width of the window. The last form stays."""
    tab.evaluate(axe)
    text = tab.inner_text("body")
    assert not {"null", "undefined", "NaN"} & set(text.split())
    assert "[object" not in text
    for width, theme in forms:
        tab.set_viewport_size({"width": width, "height": 844})
        tab.emulate_media(color_scheme=theme)
        tab.wait_for_timeout(150)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"wider than {width}"
        rows = tab.evaluate("axe.run().then((result) => result.violations)")
        serious = [row for row in rows if row["impact"] in ("serious", "critical")]
        assert [(width, theme, row["id"], [node["html"][:200] for node in row["nodes"]]) for row in serious] == []


@contextmanager
def opened(browser: Any, page: Client, width: int, theme: str) -> Iterator[Any]:
    """A page that is open, whose console stays silent."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=theme)
    tab, errors = context.new_page(), list[str]()
    tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.address)
    yield tab
    context.close()
    assert errors == []
