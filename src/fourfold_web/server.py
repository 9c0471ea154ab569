"""The server of the page: its routes, and the worker that has the models."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from fourfold import __version__
from fourfold.main import FAILURES, MISTAKES
from fourfold_web import map as map_data
from fourfold_web import place
from fourfold_web.comparisons import Comparisons, Race
from fourfold_web.guard import LIMITS, Guard, Limits, object_of, refusal
from fourfold_web.live import Live
from fourfold_web.runs import Library, finite
from fourfold_web.work import BusyError, Turn, Worker

__all__ = ["App", "server_of"]

SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)
"""The policy of a report, which is one file with its own scripts and pictures."""
STATIC = Path(__file__).parent / "static"


def _tasks() -> ModuleType:
    """The tasks of models. They load torch, in the thread that calls this."""
    return importlib.import_module("fourfold_web.tasks")


def _task(name: str, kind: str) -> Callable[..., Iterator[dict[str, Any]]]:
    """A task by the names of its function and of its request."""

    def rows(library: Library, run: str, values: Mapping[str, Any], turn: Turn) -> Iterator[dict[str, Any]]:
        return getattr(_tasks(), name)(library, run, getattr(_tasks(), kind).of(values), turn)

    return rows


TASKS = {
    "sample": _task("sampled", "Samples"),
    "write": _task("written", "Writing"),
    "between": _task("between", "Way"),
    "fill": _task("inpainted", "Hole"),
    "score": _task("scored", "Scoring"),
    "answer": _task("answered", "Talk"),
}
"""The tasks of a model, by the last part of the path."""


class App:
    """The application.

    Attributes:
        runs: the folders of runs by name.
        token: the secret of the address.
        port: the port of the address.
        limits: the most that a client may ask for.
        folder: where comparisons are written.
    """

    def __init__(
        self,
        runs: Mapping[str, Path],
        token: str,
        port: int,
        limits: Limits = LIMITS,
        folder: Path = Path("comparisons"),
    ) -> None:
        self.runs, self.token, self.port, self.limits = runs, token, port, limits
        self.library = Library(runs)
        self.comparisons = Comparisons(folder, self.library)
        self.models = Worker("models", limits.waiting)
        self.live = Live(limits)
        self.reader = Worker("reader", limits.waiting)
        handlers: Any = {HTTPException: _http_error, BusyError: _busy}
        handlers |= dict.fromkeys(MISTAKES, _mistake) | dict.fromkeys((*FAILURES, Exception), _failure)
        inner = Starlette(
            routes=self._routes(),
            middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=6)],
            exception_handlers=handlers,
        )
        self.reader.start(map_data.dots)
        if runs:
            self.models.start(_tasks)
        self._guard = Guard(inner, token, port, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guard(scope, receive, send)

    @property
    def address(self) -> str:
        """The address that opens the page."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def _routes(self) -> list[Any]:
        return [
            Route("/", _index),
            Route("/api/about.json", self._about),
            Route("/api/map.json", self._map),
            Route("/api/systems.json", self._systems),
            Route("/api/place", self._place, methods=["POST"]),
            Route("/api/pdf", self._pdf, methods=["POST"]),
            *self.live.routes(),
            Route("/api/data.json", self._data),
            Route("/api/comparisons.json", self._comparisons),
            Route("/api/comparisons", self._start, methods=["POST"]),
            Route("/api/comparisons/{name}.json", self._comparison),
            Route("/api/comparisons/{name}/report", self._report),
            Route("/api/comparisons/{name}/{act}", self._act, methods=["POST"]),
            Route("/api/runs.json", self._runs),
            Route("/api/runs/{name:path}/about.json", self._about_run),
            Route("/api/runs/{name:path}/log.json", self._log),
            Route("/api/runs/{name:path}/{task}", self._task, methods=["POST"]),
            Mount("/api", app=_nothing),
            Mount("/", app=StaticFiles(directory=STATIC)),
        ]

    async def _about(self, request: Request) -> Response:
        return JSONResponse({"version": __version__, "runs": [*self.runs], "atlas": map_data.is_there()})

    async def _map(self, request: Request) -> Response:
        return _json(await self.reader.run(map_data.dots))

    async def _place(self, request: Request) -> Response:
        """The verdict on ``{"text": ...}`` or on ``{"files": {path: text}}``."""
        body = object_of(await request.body())
        text, files = body.get("text"), body.get("files")
        if isinstance(text, str):
            return JSONResponse(await self.reader.run(lambda: place.place_pasted(text)))
        if isinstance(files, dict) and all(isinstance(content, str) for content in files.values()):
            return JSONResponse(await self.reader.run(lambda: place.place_dropped(files)))
        raise ValueError("a request must have a text or files, got neither; paste or drop something")

    async def _pdf(self, request: Request) -> Response:
        """The text of a PDF."""
        from fourfold_atlas.pdf import text_of_pdf

        content = await request.body()
        return JSONResponse({"text": await self.reader.run(lambda: text_of_pdf(content))})

    async def _data(self, request: Request) -> Response:
        """The built-in sets, each in a line."""
        sets = await self.models.run(lambda: importlib.import_module("fourfold.data").summaries())
        return JSONResponse(sets)

    async def _comparisons(self, request: Request) -> Response:
        return JSONResponse(await self.reader.run(self.comparisons.summaries))

    async def _start(self, request: Request) -> Response:
        """Begin a comparison, by the settings in the address and the file in the body."""
        race, content = Race.of(request.query_params), await request.body()
        return JSONResponse({"name": await self.models.run(lambda: self.comparisons.start(race, content))})

    async def _comparison(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(finite(await self.reader.run(lambda: self.comparisons.state(name))))

    async def _act(self, request: Request) -> Response:
        """Stop a comparison, or go on with it."""
        name, acts = request.path_params["name"], {"stop": self.comparisons.stop, "resume": self.comparisons.resume}
        act = acts.get(request.path_params["act"])
        if act is None:
            raise HTTPException(404)
        await self.reader.run(lambda: act(name))
        return JSONResponse({"name": name})

    async def _report(self, request: Request) -> Response:
        """A report, in a sandbox: whatever stands in it, it can ask this page for nothing."""
        name = request.path_params["name"]
        path = await self.reader.run(lambda: self.comparisons.report(name))
        return FileResponse(path, headers={"content-security-policy": SANDBOX})

    async def _runs(self, request: Request) -> Response:
        return JSONResponse(await self.reader.run(self.library.summaries))

    async def _about_run(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(finite(await self.models.run(lambda: self.library.about(name))))

    async def _log(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(await self.reader.run(lambda: self.library.log(name)))

    async def _task(self, request: Request) -> Response:
        """A task of a model, whose rows come as they are ready."""
        name, values = request.path_params["name"], object_of(await request.body())
        task = TASKS.get(request.path_params["task"])
        if task is None:
            raise HTTPException(404)
        return await self._stream(lambda turn: task(self.library, name, values, turn))

    async def _stream(self, rows: Callable[[Turn], Iterator[dict[str, Any]]]) -> Response:
        """Rows of JSON, each in a line. An error before the first is an answer of its own, a later one the last row."""
        coming = self.models.rows(rows, self.limits.seconds, self.limits.work)
        first = await anext(coming)

        async def lines() -> AsyncIterator[bytes]:
            yield _line(first)
            try:
                async for row in coming:
                    yield _line(row)
            except (*MISTAKES, *FAILURES) as error:
                yield _line({"error": str(error)})

        headers = {"content-encoding": "identity"}  # a compressed stream would wait for more
        return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)

    async def _systems(self, request: Request) -> Response:
        return _json(await self.reader.run(map_data.cards))


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


async def _index(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)


async def _http_error(request: Request, error: Exception) -> Response:
    """A page for an error of HTTP."""
    assert isinstance(error, HTTPException)
    words = {404: "there is no such page; go back to the first one", 405: "this page cannot be asked so; go back"}
    return refusal(request.scope, error.status_code, words.get(error.status_code, error.detail))


async def _mistake(request: Request, error: Exception) -> Response:
    return refusal(request.scope, 400, str(error))


async def _failure(request: Request, error: Exception) -> Response:
    expected = isinstance(error, FAILURES)
    return refusal(request.scope, 500, str(error) if expected else "the page has a fault; its trace is in the terminal")


async def _busy(request: Request, error: Exception) -> Response:
    return refusal(request.scope, 503, str(error))


PATIENCE = 20.0
"""Seconds until the head of the first request of a connection must be whole."""


def _impatient(**settings: Any) -> Any:
    """A connection that is closed where the head of its first request does not come."""
    protocol = H11Protocol(**settings)
    protocol.loop.call_later(PATIENCE, _close_if_silent, protocol)
    return protocol


def _close_if_silent(protocol: Any) -> None:
    if protocol.cycle is None and protocol.transport is not None and not protocol.transport.is_closing():
        protocol.transport.close()


def server_of(app: App) -> uvicorn.Server:
    """The server of the application: its ``run(sockets=[...])`` answers until ``should_exit`` or Ctrl-C."""
    connection: Any = _impatient  # a function that makes a connection serves as its class
    config = uvicorn.Config(
        app,
        http=connection,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        limit_concurrency=2 * app.limits.requests + 64,
        h11_max_incomplete_event_size=64 << 10,
    )
    return uvicorn.Server(config)
