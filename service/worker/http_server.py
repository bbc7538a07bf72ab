"""The worker's HTTP side: /metrics for Prometheus, /healthz for whoever restarts or routes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from service.errors import SettingsError
from service.settings import WorkerSettings
from service.worker.health import WorkerHealth
from service.worker.metrics import render


class HttpServer:
    """Serves the health of the moment from a thread of its own; 503 at /healthz where it is not ok."""

    def __init__(self, settings: WorkerSettings, health: Callable[[], WorkerHealth]) -> None:
        handler = type(
            "Handler", (_Handler,), {"health": staticmethod(health), "metrics": staticmethod(render(health))}
        )
        try:
            self._server = ThreadingHTTPServer((settings.http_host, settings.http_port), handler)
        except OSError as error:
            where = f"{settings.http_host}:{settings.http_port}"
            raise SettingsError(f"worker.http_port: {where}: {error.strerror}; 0 chooses a free port") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop serving; safe to call twice."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    health: Callable[[], WorkerHealth]
    metrics: Callable[[], bytes]

    def do_GET(self) -> None:
        """Answer a scrape or a probe."""
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, self.metrics())
            case "/healthz":
                health = self.health()
                body = json.dumps(health.as_dict()).encode() + b"\n"
                self._answer(200 if health.ok else 503, "application/json", body)
            case _:
                self._answer(404, "text/plain; charset=utf-8", b"try /healthz or /metrics\n")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Refuse: there is nothing to change here."""
        self.send_response(405)
        self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST

    def _answer(self, code: int, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds: nobody wants a line for each."""
