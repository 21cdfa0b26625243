"""LiteRT.js for the page of `zoo.demo`: its npm packages, fetched once, checked and unpacked. Standard library only."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.console.errors import Failed, UsageError

PINNED_FILE = Path(__file__).parent / "page" / "litert.json"
SECONDS = 300.0
# A browser finds no package by its name without a map of names, which the page's security policy does not allow.
_BARE, _BESIDE = b'"@litertjs/wasm-utils"', b'"./wasm-utils.js"'


def pinned() -> dict[str, Any]:
    """Return the version of LiteRT.js, its packages with their SHA-512, and which of their files the page takes."""
    return json.loads(PINNED_FILE.read_text(encoding="utf-8"))


def files(cache: Path, given: Path | None = None) -> dict[str, Path]:
    """Return the files of LiteRT.js by name, unpacked in the cache on first use.

    Args:
        cache: the folder that keeps them.
        given: a folder that holds the packages, where npm cannot fetch them.

    Raises:
        UsageError: the folder does not hold the packages that are pinned.
        Failed: npm is not there, or cannot fetch them.
    """
    packages = pinned()["packages"]
    names = [name for package in packages for name in package["takes"].values()]
    digest = hashlib.sha256(PINNED_FILE.read_bytes()).hexdigest()[:16]
    place = cache / f"litertjs-{digest}"
    if not place.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            _unpack(packages, given or _fetched(packages, Path(folder)), place)
    return {name: place / name for name in names}


def _fetched(packages: list[Mapping[str, Any]], folder: Path) -> Path:
    """Let npm fetch the packages into a folder."""
    specs = [f"{package['name']}@{pinned()['version']}" for package in packages]
    otherwise = f"run `npm pack {' '.join(specs)}` where npm works, and give the folder of both files with --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise Failed(f"LiteRT.js is fetched by npm, once, and there is no npm here; {otherwise}")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), *specs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
    except subprocess.TimeoutExpired:
        raise Failed(f"npm could not fetch LiteRT.js in {SECONDS:.0f} seconds; {otherwise}") from None
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), f"exit status {done.returncode}")
        raise Failed(f"npm could not fetch LiteRT.js ({reason}); {otherwise}")
    return folder


def _unpack(packages: list[Mapping[str, Any]], source: Path, place: Path) -> None:
    """Check the packages, and write what the page takes of them into a folder, all or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        unpacked = Path(folder) / place.name
        unpacked.mkdir()
        for package in packages:
            _take(package, source / package["file"], unpacked)
        try:
            unpacked.rename(place)
        except OSError:  # another process was faster, with the same files
            if not place.is_dir():
                raise


def _take(package: Mapping[str, Any], path: Path, folder: Path) -> None:
    if not path.is_file():
        raise UsageError(f"--runtime {path.parent}: expected {path.name} in it, found none")
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != package["integrity"]:
        raise UsageError(f"{path}: not the {package['name']} that is pinned: its SHA-512 is another")
    with tarfile.open(path) as archive:
        for member, name in package["takes"].items():
            content = archive.extractfile(member).read()
            (folder / name).write_bytes(content.replace(_BARE, _BESIDE) if name == "index.js" else content)
