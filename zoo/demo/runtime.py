"""LiteRT.js for the demo page: npm packages, fetched once, verified and unpacked. Standard library only."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strategies import processes
from zoo.console.errors import Failed, UsageError
from zoo.system import temporary

PINNED_FILE = Path(__file__).parent / "page" / "litert.json"
SECONDS = 300.0  # time limit of npm
# Browsers resolve package names only by an import map, which the page's security policy forbids.
_BARE, _BESIDE = b'"@litertjs/wasm-utils"', b'"./wasm-utils.js"'


def pinned() -> dict[str, Any]:
    """Return the pinned version of LiteRT.js, its packages with their SHA-512, and the files the page uses."""
    return json.loads(PINNED_FILE.read_text(encoding="utf-8"))


def files(cache: Path, given: Path | None = None) -> dict[str, Path]:
    """Return the files of LiteRT.js by name, unpacked into the cache on first use.

    Args:
        cache: Cache folder.
        given: Folder with the packages, or None to fetch them by npm.

    Raises:
        UsageError: If the folder does not contain the pinned packages.
        Failed: If npm is not installed or cannot fetch the packages.
    """
    packages = pinned()["packages"]
    names = [name for package in packages for name in package["takes"].values()]
    digest = hashlib.sha256(PINNED_FILE.read_bytes()).hexdigest()[:16]
    place = cache / f"litertjs-{digest}"
    if not place.is_dir():
        with temporary.folder() as folder:
            _unpack(packages, given or _fetched(packages, folder), place)
    return {name: place / name for name in names}


def _fetched(packages: list[Mapping[str, Any]], folder: Path) -> Path:
    """Fetch the packages into a folder by npm, and return the folder."""
    specs = [f"{package['name']}@{pinned()['version']}" for package in packages]
    otherwise = f"run `npm pack {' '.join(specs)}` where npm works, and pass the folder of both files with --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise Failed(f"LiteRT.js is fetched once by npm, which is not installed; {otherwise}")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), *specs]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=folder,
            preexec_fn=processes.before_exec(),  # noqa: PLW1509  (this process has no other threads yet)
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"npm could not fetch LiteRT.js within {SECONDS:.0f} seconds; {otherwise}") from None
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), f"exit status {done.returncode}")
        raise Failed(f"npm could not fetch LiteRT.js ({reason}); {otherwise}")
    return folder


def _unpack(packages: list[Mapping[str, Any]], source: Path, place: Path) -> None:
    """Verify the packages, and write the files the page uses into a folder, atomically."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary.folder(place.parent) as folder:
        unpacked = folder / place.name
        unpacked.mkdir()
        for package in packages:
            _take(package, source / package["file"], unpacked)
        try:
            unpacked.rename(place)
        except OSError:  # another process has written the same files meanwhile
            if not place.is_dir():
                raise


def _take(package: Mapping[str, Any], path: Path, folder: Path) -> None:
    if not path.is_file():
        raise UsageError(f"--runtime {path.parent}: expected {path.name} in it, found none")
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != package["integrity"]:
        raise UsageError(f"{path}: expected the pinned {package['name']}, its SHA-512 differs")
    with tarfile.open(path) as archive:
        for member, name in package["takes"].items():
            content = archive.extractfile(member).read()
            (folder / name).write_bytes(content.replace(_BARE, _BESIDE) if name == "index.js" else content)
