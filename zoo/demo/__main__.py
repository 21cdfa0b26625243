"""`python -m zoo.demo`: serve a local page that runs .tflite files in the browser, float32 next to int8."""

import contextlib
import functools
import json
import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.values import Hertz
from zoo.demo import artifacts
from zoo.demo import runtime as demo_runtime
from zoo.demo import server as demo_server
from zoo.demo.server import Site

PAGE = Path(__file__).parent / "page"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `zoo.demo`."""

    source: Path = option("run folder or .tflite file", positional=True, metavar="RUN_OR_FILE", stock_as="run")
    port: int = option("port of the local server; another one is used if it is taken", 8000)
    export: Path | None = option("folder to write the page to as a static site, instead of serving it")
    runtime: Path | None = option("folder with the npm packages of LiteRT.js (default: fetched once by npm)")
    clock: Hertz | None = option(
        "clock of a device, to show the cycles in receipts as time, such as 80MHz (default: the one Vela assumes)",
        metavar="HZ",
    )
    no_browser: bool = option("do not open a browser", False)
    data_dir: Path | None = option(
        "folder of prepared TFDS sets, for files that have to be made first (default: the run's)"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UsageError(f"--port {self.port}: expected a value from 0 to 65535")
        if self.runtime is not None and not self.runtime.is_dir():
            raise UsageError(f"--runtime {self.runtime}: expected a folder, found none")


def run(servers: list[ThreadingHTTPServer], given: Mapping[str, Any]) -> dict[str, Any]:
    """Export the page or start its server, and return its folder or address.

    Args:
        servers: List that the server is appended to. It listens but does not answer yet.
        given: Options that were given, by field name.
    """
    options = Options(**given)
    paths = artifacts.files(options.source, options.data_dir)
    site = page(options.source.resolve().name, paths, options.runtime, options.clock)
    if options.export:
        demo_server.write(site, options.export)
        return {"files": [path.name for path in paths], "path": str(options.export)}
    server = demo_server.bound(site, options.port)
    servers.append(server)
    port = server.server_address[1]
    if options.port not in (0, port):
        cli.say(f"--port {options.port} is in use, using {port} instead")
    url = f"http://{demo_server.ADDRESS}:{port}/"
    if not options.no_browser and sys.stdout.isatty() and _has_screen():
        webbrowser.open(url)
    return {"files": [path.name for path in paths], "url": url}


def page(title: str, paths: Sequence[Path], runtime: Path | None = None, clock: float | None = None) -> Site:
    """Return the site that shows .tflite files, including LiteRT.js.

    Args:
        title: Title of the page.
        paths: Files to show, each with the receipt and vocabulary next to it. The first is the reference.
        runtime: Folder with the npm packages of LiteRT.js, or None to fetch them.
        clock: Clock of a device in Hz; None for the one that the receipts were made for.

    Raises:
        UsageError: If a file is damaged or does not match its receipt.
        Failed: If LiteRT.js cannot be fetched.
    """
    from compression.receipts.described import described
    from zoo.system import cache

    site: dict[str, bytes | Path] = {path.relative_to(PAGE).as_posix(): path for path in parts()}
    listed = []
    for path in paths:
        facts = described(path) | {"url": f"models/{path.name}", "vocabulary_url": None}
        if clock is not None:
            facts["device"] |= {"clock_hz": clock}
        site[facts["url"]] = path
        vocabulary = path.with_suffix(".vocabulary.json")
        if vocabulary.is_file():
            facts["vocabulary_url"] = f"models/{vocabulary.name}"
            site[facts["vocabulary_url"]] = vocabulary
        listed.append(facts)
    names = [facts["name"] for facts in listed]
    for facts in listed:
        if names.count(facts["name"]) > 1:  # recipes that differ in their arguments alone
            facts["name"] = Path(facts["file"]).stem
    litert = demo_runtime.files(cache.folder(), runtime)
    site |= {f"litert/{name}": path for name, path in litert.items()}
    return site | {"models.json": json.dumps({"title": title, "files": listed}).encode()}


def parts() -> list[Path]:
    """Return the files of the page."""
    return [path for path in sorted(PAGE.rglob("*")) if path.is_file() and path.suffix != ".json"]


def _has_screen() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(result: Mapping[str, Any]) -> None:
    """Print the files, and last the folder or address of the page."""
    print(", ".join(result["files"]))
    if "url" in result:
        cli.say("press Ctrl-C to stop the server")
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
        description="Run .tflite files live in a browser, and compare their answers.",
    )
    for server in servers:
        with server, contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return status


if __name__ == "__main__":
    sys.exit(main())
