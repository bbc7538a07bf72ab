"""What /healthz says follows from what the stages report."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from service.devices.status import State
from service.errors import SettingsError
from service.settings import WorkerSettings
from service.worker.health import SILENT_S, ComputeReport, IngestReport, StageState, WorkerHealth, judge, news
from service.worker.http_server import HttpServer

SETTINGS = WorkerSettings(http_port=0, warn_s=5.0)
NOW_S = 1000.0


def health(ingest: dict[str, Any] | None = None, compute: dict[str, Any] | None = None, **stage: Any) -> WorkerHealth:
    well = {"running": True, "reported": True, "restarts": 0, "heard_s": NOW_S}
    stages = {"ingest": StageState(**well), "compute": StageState(**(well | stage))}
    reports = IngestReport(**{"pid": 1, **(ingest or {})}), ComputeReport(**{"pid": 2, **(compute or {})})
    return judge(stages, *reports, SETTINGS, NOW_S)


def test_idle_worker_is_well() -> None:
    idle = health(compute={"sequence": 3})
    assert (idle.state, idle.ok, idle.busy) == (State.ON, True, False)
    assert idle.status == "waiting for a series; results so far: 3"


def test_worker_is_not_well_before_both_stages_have_reported() -> None:
    for starting in (health(compute={"pid": 0}, reported=False), health(compute={"pid": 7}, reported=False)):
        assert (starting.state, starting.ok, starting.status) == (State.INIT, False, "starting")


def test_news_is_what_began_ended_or_went_wrong() -> None:
    ended = {"sequence": 3, "series": {"done": 2, "failed": 1}, "last_error": "zero counts"}
    open_ = {"open_series": "3 (c)", "open_sent": 9}
    steps = [
        WorkerHealth(),
        WorkerHealth(state=State.ALARM, status="compute is down"),
        health(compute={"sequence": 2, "series": {"done": 2}, "last_error": "old"}),
        health(compute={"sequence": 2, "series": {"done": 2}, "last_error": "old", **open_, "open_received": 1}),
        health(compute={"sequence": 2, "series": {"done": 2}, "last_error": "old", **open_, "open_received": 2}),
        health(compute={"sequence": 2, "series": {"done": 2}, "last_error": "old", "inverting": "3 (c)"}),
        health(compute=ended),
        health(compute=ended, running=False),
    ]
    told = [news(before, now) for before, now in itertools.pairwise(steps)]
    assert told == [
        [],
        ["waiting for a series; results so far: 2"],
        ["series 3 (c): 1 of 9 frames"],
        [],
        ["inverting series 3 (c)"],
        ["series failed", "error: zero counts", "waiting for a series; results so far: 3"],
        ["compute is down, restarted 0 times"],
    ]


def test_busy_worker_says_with_what() -> None:
    receiving = health(compute={"open_series": "7 (a)", "open_sent": 9, "open_received": 4, "silent_s": 4.9})
    assert (receiving.state, receiving.ok, receiving.status) == (State.RUNNING, True, "series 7 (a): 4 of 9 frames")
    assert health(compute={"inverting": "6 (b)"}).status == "inverting series 6 (b)"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"running": False, "restarts": 2}, "compute is down, restarted 2 times"),
        ({"heard_s": NOW_S - SILENT_S - 1}, "compute has said nothing for 21 s"),
        ({"ingest": {"full": True}}, "the spool is full"),
        ({"ingest": {"error": "no disk"}}, "no disk"),
        ({"compute": {"open_series": "7 (a)", "silent_s": 6.0, "open_sent": 9}}, "no frame for 6 s, 0 of 9 frames"),
    ],
)
def test_trouble_is_told(case: dict[str, Any], words: str) -> None:
    troubled = health(**case)
    assert (troubled.ok, troubled.state) == (False, State.ALARM)
    assert words in troubled.status


@pytest.mark.parametrize(
    ("serial", "caught_up", "queued"), [(3, False, 7), (3, True, 0), (0, False, 0), (12, False, 0)]
)
def test_queue_is_what_compute_has_not_read(serial: int, caught_up: bool, queued: int) -> None:
    assert health({"serial": 10}, {"serial": serial, "caught_up": caught_up}).queued == queued


def test_http_serves_health_and_metrics() -> None:
    now = [health()]
    server = HttpServer(SETTINGS, lambda: now[0])
    try:
        with urllib.request.urlopen(f"{server.url}/healthz") as answer:
            assert json.load(answer)["status"] == "waiting for a series; results so far: 0"
        with urllib.request.urlopen(f"{server.url}/metrics?x=1") as answer:
            assert b"braggloop_up 1.0" in answer.read()
        now[0] = health(running=False)
        for path, code in (("/healthz", 503), ("/nothing", 404)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(server.url + path)
            with caught.value:
                assert caught.value.code == code
        taken = WorkerSettings(http_port=int(server.url.rpartition(":")[2]))
        with pytest.raises(SettingsError, match="0 chooses a free port"):
            HttpServer(taken, lambda: now[0])
    finally:
        server.close()


def test_http_head_is_get_without_the_body() -> None:
    with contextlib.closing(HttpServer(SETTINGS, health)) as server:
        for path in ("/healthz", "/metrics", "/nothing"):
            got, headed = (ask(server, method, path) for method in ("GET", "HEAD"))
            assert (headed.status, headed.headers["Content-Type"]) == (got.status, got.headers["Content-Type"])
            assert (int(headed.headers["Content-Length"]), headed.read()) == (len(got.read()), b"")


def test_http_refuses_other_methods() -> None:
    with contextlib.closing(HttpServer(SETTINGS, health)) as server:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            refused = ask(server, method, "/healthz")
            assert (refused.status, refused.headers["Allow"], refused.read()) == (405, "GET, HEAD", b"")


def ask(server: HttpServer, method: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request(method, path)
    return connection.getresponse()
