"""The lab's downloads are verified, and what cannot be had is one line; the lab itself is of tests/bliss."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.bliss import lab

CONTENTS = {name: f"contents of {name}".encode() for name in lab.OPENSSL_LIBRARIES}


def debian_package() -> bytes:
    """An ar archive as dpkg writes it, with members of odd length."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz") as tar:
        for name, content in {**CONTENTS, "changelog.gz": b"none"}.items():
            member = tarfile.TarInfo(f"./usr/lib/x86_64-linux-gnu/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": archive.getvalue()}
    package = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        package += header.encode() + content + b"\n" * (len(content) % 2)
    return package


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Three mirrors: one without the package, one with another, one with the right one."""
    package = debian_package()
    for name, content in {"empty": b"", "other": package + b"more", "right": package}.items():
        file = tmp_path / name / lab.OPENSSL
        file.parent.mkdir(parents=True)
        if content:
            file.write_bytes(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {name: f"http://127.0.0.1:{server.server_port}/{name}" for name in ("empty", "other", "right")}
        server.shutdown()


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "OPENSSL_SHA256", hashlib.sha256(debian_package()).hexdigest())


def test_the_first_mirror_with_the_right_package_is_taken(mirrors: dict[str, str], tmp_path: Path) -> None:
    lab.unpack(lab.openssl(list(mirrors.values())), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert not (tmp_path / "changelog.gz").exists()


def test_no_mirror_is_one_line_that_says_why_of_each(mirrors: dict[str, str]) -> None:
    with pytest.raises(lab.LabError) as refused:
        lab.openssl([mirrors["empty"], mirrors["other"], "nonsense"])
    said = str(refused.value)
    assert "404" in said
    assert f"expected {lab.OPENSSL_SHA256}" in said
    assert "nonsense" in said
    assert "\n" not in said


def test_a_package_without_its_archive_is_refused() -> None:
    with pytest.raises(lab.LabError, match="has no data"):
        lab.unpack(b"!<arch>\n", Path())


@pytest.mark.parametrize("do", ["start", "stop", "env"])
def test_what_is_not_made_says_what_to_do(do: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main([do, "--prefix", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("lab.py: no lab ")
    assert said.count("\n") == 1


def test_a_lab_that_does_not_come_up_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text(json.dumps({}))
    python = lab.python_of(tmp_path)
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho no module named bliss\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(lab.LabError, match="tango ended with code 3: no module named bliss"), lab.running(tmp_path):
        pass


def test_ports_are_distinct() -> None:
    assert len(set(lab.free_ports(4))) == 4
