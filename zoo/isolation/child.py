"""Run work that can crash in a child process, and report a crash as an error message.

The TFLite converter and interpreter are native code, which damaged or unusual input can crash. A module that runs as a
child defines `work(job)`; the parent calls `child.run(module, job)` and receives its return value. The module may also
define `preload()` for slow imports.

On platforms with fork, each module has a server process that calls `preload()` once and forks for every job. A
conversion then takes two seconds instead of ten with the import of TensorFlow. The server ends with its parent, and a
job with its server.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from strategies import processes
from zoo.console import progress
from zoo.console.errors import Failed
from zoo.system import temporary

ROOT = Path(__file__).parents[2]
# Limit for the text of an error; the converter's errors can be pages long.
MOST_CHARACTERS = 20_000
# Time limit for a server to start, including `preload()`.
SECONDS_TO_START = 300.0


class Ended(Failed):
    """The child crashed, or exceeded its time limit."""


def run(
    module: str,
    job: Mapping[str, Any],
    *,
    seconds: float,
    memory_bytes: int | None = None,
    once: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Run `work(job)` of a module in a child process, and return its result.

    Args:
        module: Name of the module.
        job: JSON-serialisable argument of `work`; pass large arrays as paths of files.
        seconds: Time limit, after which the child is killed.
        memory_bytes: Limit of the address space that the child may take beyond its imports, on operating systems that
            support one.
        once: Whether a new process runs the job and no server stays, because further jobs are unlikely.
        environment: Variables of the child's environment, set when its process or server starts.

    Raises:
        Ended: The child crashed or exceeded its time limit.
        Failed: The child raised an exception.
    """
    with temporary.folder() as folder:
        files = {name: str(folder / name) for name in ("job", "result", "output", "progress")}
        Path(files["job"]).write_text(
            json.dumps({"job": job, "memory_bytes": memory_bytes, "tells": progress.showing()}, default=_absolute)
        )
        forked = hasattr(os, "fork") and not once
        status = (_forked if forked else _started)(module, files, seconds, environment or {})
        if status is None:
            raise Ended(f"stopped after its time limit of {seconds:g} s")
        if not Path(files["result"]).is_file():
            raise Ended(_ended(status, Path(files["output"])))
        result = json.loads(Path(files["result"]).read_text())
    if "error" in result:
        raise Failed(result["error"])
    return result["value"]


def _absolute(value: Any) -> str:
    """Return a path as an absolute one, since a child may have another working directory; other values as text."""
    return str(value.absolute()) if isinstance(value, Path) else str(value)


def _ended(status: int, output: Path) -> str:
    if status < 0:
        return f"the process crashed ({signal.Signals(-status).name})"
    lines = output.read_text(errors="replace").strip().splitlines() if output.is_file() else []
    return f"the process ended with status {status}: {lines[-1] if lines else 'no message'}"


def _environment(further: Mapping[str, str]) -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3", **further}


def _started(module: str, files: dict[str, str], seconds: float, environment: Mapping[str, str]) -> int | None:
    """Run a job in a new process; return its exit status, or None if it exceeded its time limit."""
    words = processes.command("zoo.isolation.child", "job", module, json.dumps(files))
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, env=_environment(environment), timeout=seconds
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def _forked(module: str, files: dict[str, str], seconds: float, environment: Mapping[str, str]) -> int | None:
    """Run a job in a fork of the module's server; return its exit status, or None if it exceeded its time limit."""
    server = _server(module)
    with server.lock:
        try:
            return server.do(files, seconds, environment)
        except (EOFError, OSError):  # the server was killed; the next job starts another
            server.stop()
            raise Failed("the server process that runs jobs was killed") from None


@functools.cache
def _server(module: str) -> "_Server":
    return _Server(module)


class _Server:
    """The parent's handle of a server process, which forks for every job."""

    def __init__(self, module: str):
        self.module = module
        self.lock = threading.Lock()
        self._connection: Connection | None = None
        atexit.register(self.stop)

    def do(self, files: dict[str, str], seconds: float, environment: Mapping[str, str]) -> int | None:
        if self._connection is None:
            self._start(environment)
        self._connection.send(files)
        pid, done = self._connection.recv(), False
        try:
            done = self._ended(files, seconds)
        finally:
            if not done:  # time limit or KeyboardInterrupt
                os.kill(pid, signal.SIGKILL)
                self._connection.recv()
        return self._connection.recv() if done else None

    def _ended(self, files: dict[str, str], seconds: float) -> bool:
        """Wait for the end of a job, and show how far it is; return whether it ended in time."""
        if not progress.showing():
            return self._connection.poll(seconds)
        end = time.monotonic() + seconds
        while not self._connection.poll(min(progress.INTERVAL, max(end - time.monotonic(), 0))):
            progress.told_in(Path(files["progress"]))
            if time.monotonic() >= end:
                return False
        return True

    def _start(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            rest = json.dumps([theirs.fileno(), os.getpid()])
            words = [sys.executable, "-m", "zoo.isolation.child", "serve", self.module, rest]
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(
                words, env=_environment(environment), pass_fds=[theirs.fileno()], **streams
            )
        connection = Connection(ours.detach())
        if not connection.poll(SECONDS_TO_START):
            self._process.kill()
            raise Failed(f"{self.module} was not imported within {SECONDS_TO_START:g} s")
        connection.recv()
        self._connection = connection

    def stop(self) -> None:
        """Stop the server if it is running; the next job starts another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._process.kill()
            self._process.wait()


def _serve(module: str, descriptor: int, parent: int) -> None:
    """Run a server: preload, then fork for every job until the parent ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole process group; the parent handles them
    processes.watch(parent)  # whichever of its threads started this process, and has ended since
    server = os.getpid()
    connection = Connection(descriptor)
    getattr(importlib.import_module(module), "preload", lambda: None)()
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            files = connection.recv()
            pid = os.fork()
            if not pid:
                processes.end_with(server)
                connection.close()
                _do(module, files)
            connection.send(pid)
            connection.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _do(module: str, files: dict[str, str]) -> None:
    """Run a job in the child: read it, call `work`, write its result or error, and exit."""
    output = os.open(files["output"], os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    order = json.loads(Path(files["job"]).read_text())
    if order["tells"]:
        progress.into(Path(files["progress"]))
    try:
        loaded = importlib.import_module(module)
        getattr(loaded, "preload", lambda: None)()
        _limit_memory(order["memory_bytes"])
        result = {"value": loaded.work(order["job"])}
    except Exception as error:  # process boundary: the parent raises it again as Failed
        result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_CHARACTERS]}"}
    writing = Path(files["result"] + ".writing")
    writing.write_text(json.dumps(result))
    writing.replace(files["result"])
    # Skip the interpreter's shutdown, in which native libraries may crash; the result is already written.
    os._exit(0)


def _limit_memory(limit: int | None) -> None:
    if limit is None:
        return
    try:
        import resource
    except ImportError:  # not available on Windows
        return
    before, most = _address_space(), resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = before + limit if most == resource.RLIM_INFINITY else min(before + limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _address_space() -> int:
    """Return the bytes of address space that this process has, 0 where the operating system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    role, name, rest = sys.argv[1:4]
    _serve(name, *json.loads(rest)) if role == "serve" else _do(name, json.loads(rest))
