"""`python -m zoo.demo`: a page on this machine that runs .tflite files in the browser, float32 beside int8."""

import contextlib
import functools
import json
import os
import subprocess
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import Failed, UsageError
from zoo.demo import runtime as demo_runtime
from zoo.demo import server as demo_server
from zoo.demo.server import Site
from zoo.runs.folder import RunFolder

PAGE = Path(__file__).parent / "page"
# What is made of a run, where the first is missing, or no file beside it; dynamic where int8 is refused.
REFERENCE, SMALL, OTHERWISE = "float32", "int8", "dynamic"
REFUSED = 2  # the exit status of a command that refuses what it was asked


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to show, and where."""

    source: Path = option("the run folder, or a .tflite file", positional=True, metavar="RUN_OR_FILE", stock_as="run")
    port: int = option("to listen on, on this machine alone; another is taken where it is in use", 8000)
    export: Path | None = option("write the page as a static site into this folder instead of serving it")
    runtime: Path | None = option("a folder with the packages of LiteRT.js (default: npm fetches them, once)")
    no_browser: bool = option("do not open a browser", False)
    data_dir: Path | None = option("where TFDS sets are prepared, to measure files that are made (default: the run's)")

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UsageError(f"--port {self.port}: expected a value from 0 to 65535")
        if self.runtime is not None and not self.runtime.is_dir():
            raise UsageError(f"--runtime {self.runtime}: expected a folder, found none")


def run(servers: list[ThreadingHTTPServer], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the page is: a folder, or the address of a server, which is added to `servers` and listens."""
    options = Options(**given)
    paths = _paths(options)
    site = page(options.source.resolve().name, paths, options.runtime)
    if options.export:
        demo_server.write(site, options.export)
        return {"files": [path.name for path in paths], "path": str(options.export)}
    server = demo_server.bound(site, options.port)
    servers.append(server)
    port = server.server_address[1]
    if options.port not in (0, port):
        cli.say(f"--port {options.port} is in use, so the page is on {port}")
    url = f"http://{demo_server.ADDRESS}:{port}/"
    if not options.no_browser and sys.stdout.isatty() and _has_screen():
        webbrowser.open(url)
    return {"files": [path.name for path in paths], "url": url}


def page(title: str, paths: Sequence[Path], runtime: Path | None = None) -> Site:
    """Return the page that shows .tflite files, with all that it needs.

    Args:
        title: of the page.
        paths: of the files; the first is what others are compared with. What lies beside them is taken too.
        runtime: see `Options`.

    Raises:
        UsageError: a file that is damaged, or another than its receipt's.
        Failed: LiteRT.js cannot be had.
    """
    from compression.receipts.described import described
    from zoo.data import cache

    site: dict[str, bytes | Path] = {path.name: path for path in PAGE.iterdir() if path.suffix != ".json"}
    listed = []
    for path in paths:
        facts = described(path) | {"url": f"models/{path.name}", "vocabulary_url": None}
        site[facts["url"]] = path
        vocabulary = path.with_suffix(".vocabulary.json")
        if vocabulary.is_file():
            facts["vocabulary_url"] = f"models/{vocabulary.name}"
            site[facts["vocabulary_url"]] = vocabulary
        listed.append(facts)
    litert = demo_runtime.files(cache.folder(), runtime)
    site |= {f"litert/{name}": path for name, path in litert.items()}
    return site | {"models.json": json.dumps({"title": title, "files": listed}).encode()}


def _paths(options: Options) -> list[Path]:
    """Return the files to show, float32 first, made first where there are none."""
    source = options.source
    if source.is_file():
        return [source]
    if source.suffix == ".tflite":
        raise UsageError(f"{source}: expected a .tflite file or the folder of a run, found none")
    folder = RunFolder(source)
    folder.read_metrics()
    artifacts = folder.path / "artifacts"
    found = {path.stem for path in artifacts.glob("*.tflite")}
    missing = [] if REFERENCE in found else [REFERENCE]
    missing += [] if found - {REFERENCE} else [SMALL]
    _make(folder.path, missing, options.data_dir)
    files = sorted(artifacts.glob("*.tflite"), key=lambda path: (path.stem != REFERENCE, path.stem != SMALL, path.name))
    if not files:
        raise UsageError(f"{source}: expected a run that can be compressed, and no file could be made of it")
    return files


def _make(run_folder: Path, recipes: Sequence[str], data_dir: Path | None) -> None:
    """Compress a run by some recipes at once, each in a process of its own; what a run cannot have is told of."""
    if not recipes:
        return
    cli.say(f"making {' and '.join(recipes)} of {run_folder}, as there are no such files yet")
    where = ["--data-dir", str(data_dir)] if data_dir else []
    command = [sys.executable, "-m", "compression.compress", str(run_folder), *where, "--recipe"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    children = {recipe: subprocess.Popen([*command, recipe], **pipes) for recipe in recipes}
    refused = []
    for recipe, child in children.items():
        said = child.communicate()[1].strip().splitlines()
        if child.returncode == REFUSED:
            refused.append(recipe)
            cli.say(f"no {recipe} file: {said[-1]}")
        elif child.returncode:
            raise Failed(f"{recipe} of {run_folder} could not be made: {said[-1] if said else child.returncode}")
    if SMALL in refused:
        _make(run_folder, [OTHERWISE], data_dir)


def _has_screen() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(result: Mapping[str, Any]) -> None:
    """Print the files, and last where the page is."""
    print(", ".join(result["files"]))
    if "url" in result:
        cli.say("Ctrl-C ends it")
    print(result.get("url") or result["path"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and serve until Ctrl-C."""
    servers: list[ThreadingHTTPServer] = []
    status = cli.command(
        Options,
        functools.partial(run, servers),
        show,
        argv,
        prog="python -m zoo.demo",
        description="Show what .tflite files answer, live in a browser.",
    )
    for server in servers:
        with server, contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return status


if __name__ == "__main__":
    sys.exit(main())
