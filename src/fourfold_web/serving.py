"""The work of ``serve``: a socket on this machine alone, a token, and the server behind them."""

from __future__ import annotations

import importlib
import secrets
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from fourfold.cli.printing import print_line
from fourfold_web import zoo
from fourfold_web.cli import Serve

__all__ = ["HOST", "bound", "check_libraries", "serve"]

HOST = "127.0.0.1"
LIBRARIES = ("starlette", "uvicorn")


def serve(command: Serve) -> None:
    """Print the address of the page, and answer until Ctrl-C."""
    check_libraries()
    from fourfold_web.folders import runs_of
    from fourfold_web.server import App, server_of

    folders = [Path("runs")] if command.runs is None and Path("runs").is_dir() else list(command.runs or [])
    runs = {**runs_of(folders), **{f"zoo/{name}": zoo.folder_of(name) for name in zoo.names()}}
    with bound(command.port) as listener:
        port = listener.getsockname()[1]
        app = App(runs, token=secrets.token_urlsafe(24), port=port, folder=command.comparisons.resolve())
        print_line(f"runs: {len(runs)}, {len(zoo.names())} of them from the zoo")
        print_line(f"page: {app.address}")
        if command.open_:
            webbrowser.open(app.address)
        server_of(app).run(sockets=[listener])


def check_libraries(names: Sequence[str] = LIBRARIES) -> None:
    """Refuse to start without the libraries of the server.

    Raises:
        ImportError: naming the extra that brings them.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ImportError(f"{name} must be installed for the page: pip install '.[web]' in its clone") from error


def bound(port: int) -> socket.socket:
    """A socket that listens on this machine alone.

    Raises:
        OSError: naming the port, if it is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(f"port {port} must be free, got one in use: choose another by --port, or 0 for any") from error
    return listener
