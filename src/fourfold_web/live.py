"""The routes of the paradigms at work: recorded traces, and trainings that go on while the page looks at them."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request as Asked
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fourfold_web import recorded
from fourfold_web.guard import Limits, object_of
from fourfold_web.paradigms import DATA, FAILURES, RECIPES, Request, Settings, Studio, redrawn
from fourfold_web.work import Worker

__all__ = ["Live"]

KEPT = 3
"""Trainings whose models are kept. The oldest is forgotten."""


class Live:
    """The trainings of one page.

    Attributes:
        limits: the most that a client may ask for.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._training, self._drawing = Worker("studio", 4), Worker("traces", limits.waiting)
        self._studios: OrderedDict[str, Studio] = OrderedDict()

    def routes(self) -> list[Route]:
        """The routes under ``/api``."""
        return [
            Route("/api/traces.json", self._sets),
            Route("/api/traces/{data}/{name}.json", self._trace),
            Route("/api/traces/{data}/{name}", self._redraw, methods=["POST"]),
            Route("/api/live.json", self._choices),
            Route("/api/live", self._train, methods=["POST"]),
            Route("/api/live/{studio}/{act:path}", self._act, methods=["POST"]),
        ]

    async def _sets(self, call: Asked) -> Response:
        return JSONResponse({"sets": recorded.sets()})

    async def _trace(self, call: Asked) -> Response:
        data, name = call.path_params["data"], call.path_params["name"]
        return Response(await self._drawing.run(lambda: recorded.trace_of(data, name)), media_type="application/json")

    async def _redraw(self, call: Asked) -> Response:
        """The trace of a run of the zoo with other settings."""
        data, name = call.path_params["data"], call.path_params["name"]
        settings = _settings(object_of(await call.body()).get("settings", {}))
        return JSONResponse(await self._drawing.run(lambda: redrawn(f"{data}/{name}", settings)))

    async def _choices(self, call: Asked) -> Response:
        failures = [{"name": name, "paradigm": item.paradigm, "title": item.title} for name, item in FAILURES.items()]
        return JSONResponse({"data": DATA, "paradigms": [*RECIPES], "failures": failures})

    async def _train(self, call: Asked) -> Response:
        """Rows of JSON while the models train. The first tells the name of the training."""
        request = Request.of(object_of(await call.body()))
        name = secrets.token_urlsafe(9)
        return StreamingResponse(
            self._rows(name, request),
            media_type="application/x-ndjson",
            headers={"content-encoding": "identity"},  # compression would hold rows back
        )

    async def _rows(self, name: str, request: Request) -> AsyncIterator[str]:
        def rows(turn: Any) -> Any:
            studio = self._studios[name] = Studio(request)
            while len(self._studios) > KEPT:
                self._studios.popitem(last=False)
            yield {"kind": "name", "name": name}
            try:
                yield from studio.rows(turn.gone.is_set)
            finally:
                studio.close()

        try:
            async for row in self._training.rows(rows, self.limits.seconds):
                yield json.dumps(row) + "\n"
        except (ValueError, ArithmeticError) as error:
            yield json.dumps({"error": str(error)}) + "\n"

    async def _act(self, call: Asked) -> Response:
        """``pause``, ``go``, ``step``, or ``trace`` with other settings."""
        studio = self._studios.get(call.path_params["studio"])
        if studio is None:
            raise ValueError("the training must be one of the last three, got an older one; start it again")
        act, value = call.path_params["act"], object_of(await call.body())
        if act == "trace":
            settings = _settings(value.pop("settings", {}))
            name = str(value.get("name", ""))
            return JSONResponse(await self._drawing.run(lambda: studio.traced(name, settings)))
        if act not in ("pause", "go", "step"):
            raise ValueError(f"the act must be pause, go, step or trace, got {act[:40]!r}")
        if act == "pause":
            studio.pause.set()
        elif act == "go":
            studio.pause.clear()
        else:
            studio.step()
        return JSONResponse({"paused": studio.pause.is_set()})


def _settings(value: Any) -> Settings:
    """Settings of sampling from a JSON value.

    Raises:
        ValueError: naming the setting that is wrong.
    """
    kinds = {"sampler": str, "steps": int, "guidance": float, "temperature": float, "given": int, "seed": int}
    if not isinstance(value, dict) or set(value) - set(kinds):
        raise ValueError(f"settings must be an object of {', '.join(kinds)}, got another")
    values: dict[str, Any] = {}
    for name, item in value.items():
        if item is None:
            continue
        number = isinstance(item, (int, float)) and not isinstance(item, bool) and abs(item) < 1e9  # no NaN either
        if not (isinstance(item, str) if kinds[name] is str else number):
            raise ValueError(f"{name} must be a {'text' if kinds[name] is str else 'number'}, got {str(item)[:40]!r}")
        values[name] = kinds[name](item)
    return Settings(**values)
