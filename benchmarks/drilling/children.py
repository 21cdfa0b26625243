"""Commands that a drill starts and kills: their processes, what they leave behind, and the bits of their results."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Environment variable by which the processes that a command starts are found.
MARK = "DRILL"
# Seconds that processes have to end after their command was killed, and that a command may take.
SECONDS, MOST = 15.0, 900.0
LEFTOVERS = (".writing*", ".exporting*", "*.writing")


class Command:
    """A command in a process group of its own, with a folder for temporary files of its own."""

    def __init__(self, words: Sequence[str], folder: Path, said: Path):
        self.mark, self.temporary = uuid.uuid4().hex, folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.said = said
        environment = os.environ | {MARK: self.mark, "TMPDIR": str(self.temporary), "CUDA_VISIBLE_DEVICES": "-1"}
        with said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=file, start_new_session=True,
            )  # fmt: skip

    def end(self) -> str:
        """Wait for the command, and return its last line if it failed."""
        try:
            status = self.process.wait(MOST)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"it did not end within {MOST:.0f} s"
        return f"it ended with status {status}: {self.last_line()}" if status else ""

    def last_line(self) -> str:
        lines = self.said.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "no message"

    def has_traceback(self) -> bool:
        return "Traceback" in self.said.read_text(errors="replace")

    def orphans(self) -> list[str]:
        """Return the command lines of processes that are left of the command after a while, and end them."""
        deadline = time.monotonic() + SECONDS
        while (left := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        return list(left.values())


def marked(mark: str) -> dict[int, str]:
    """Return the running processes that have a mark in their environment: command line by process id."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (place / "environ").read_bytes():
                found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    return found


def leftovers(*folders: Path) -> list[str]:
    """Return the temporary files and folders that are left in folders and below."""
    return sorted(
        str(path.relative_to(folder)) for folder in folders for name in LEFTOVERS for path in folder.rglob(name)
    )


def surplus(folder: Path, whole: Path) -> list[str]:
    """Return what a folder holds that one of an undisturbed command does not; logs have other names each time."""
    names, expected = ({path.relative_to(one) for path in one.rglob("*")} for one in (folder, whole))
    return sorted(str(name) for name in names - expected if not {"tensorboard", "checkpoints"} & set(name.parts))


def bits(folder: Path) -> str:
    """Return a digest of every result below a folder that has to be equal: checkpoints, curves, models and files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".tflite" or path.name in ("history.csv", "prequential.csv"):
            digest.update(name.encode() + path.read_bytes())
        elif path.parent.name == "checkpoints" and path == max(path.parent.glob("step-*.npz"), default=None):
            with np.load(path) as arrays:
                for key in sorted(set(arrays.files) - {"state"}):  # the state has times
                    digest.update(f"{path.parent.parent.name} {key}".encode() + arrays[key].tobytes())
    return digest.hexdigest()
