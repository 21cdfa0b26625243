"""`python -m docs.screenshots`: make the pictures of docs/images anew, from runs that it makes itself."""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs import browser
from docs.browser import Page
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import Failed, UsageError, nearest

IMAGES = Path(__file__).parent / "images"
RUN = Path("runs/cnn-digits")
# The run of the README, and the files of the guides, made in this order.
TRAINED = ("zoo.train", "--model", "cnn", "--strategy", "mirrored")
RECIPES = ("float32", "int8", "int4", "channels(0.5) + int8")
STAGES = "prune(0.8) + cluster(16) + qat + int8"
WIDTH = 1100
# A drawn seven, in shares of the side of the sheet.
SEVEN = ((0.33, 0.2), (0.5, 0.2), (0.7, 0.2), (0.64, 0.38), (0.56, 0.6), (0.5, 0.86))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `python -m docs.screenshots`."""

    only: tuple[str, ...] = option("pictures to make, separated by commas (default: all)", (), metavar="PICTURE,...")
    output: Path = option("folder for the pictures", IMAGES)
    browser: Path | None = option("program of Chromium or Chrome (default: the one that is installed)")
    folder: Path | None = option("folder for the runs, which are kept and used again (default: a temporary one)")

    def __post_init__(self) -> None:
        for name in self.only:
            if name not in PICTURES:
                raise UsageError(
                    f"--only: expected some of {', '.join(PICTURES)}, received {name!r}{nearest(name, PICTURES)}"
                )


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the pictures, and return their paths."""
    options = Options(**given)
    program = browser.program(options.browser)
    names = options.only or tuple(PICTURES)
    with _place(options.folder) as folder, browser.opened(program) as page:
        options.output.mkdir(parents=True, exist_ok=True)
        made = []
        for name in names:
            cli.say(f"making {name}.png")
            made.append(options.output / f"{name}.png")
            PICTURES[name](page, folder, made[-1])
    return {"pictures": list(map(str, made))}


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _command(folder: Path, *words: str) -> None:
    """Run a command of the project in a folder."""
    cli.say(f"  python -m {' '.join(words)}")
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise Failed(f"python -m {' '.join(words)}: {done.stderr.strip().splitlines()[-1]}")


def _environment() -> dict[str, str]:
    """Return the environment of a command, which runs the code beside this file from any folder."""
    return os.environ | {"PYTHONPATH": str(IMAGES.parents[1])}


def _trained(folder: Path) -> Path:
    if not (folder / RUN / "report.html").is_file():
        _command(folder, *TRAINED)
    return folder / RUN


def _compressed(folder: Path) -> Path:
    run = _trained(folder)
    known = {path.name for path in (run / "artifacts").glob("*.tflite")} if (run / "artifacts").is_dir() else set()
    for recipe in RECIPES if len(known) < len(RECIPES) else ():
        _command(folder, "compression.compress", str(RUN), "--recipe", recipe)
    return run


def _report(page: Page, folder: Path, path: Path) -> None:
    page.show((_trained(folder) / "report.html").as_uri(), WIDTH, 1500)
    page.save(path, most=1725)  # down to the pictures of mistakes


def _compression(page: Page, folder: Path, path: Path) -> None:
    page.show((_compressed(folder) / "compression.html").as_uri(), WIDTH, 1500)
    page.save(path, most=1560)


def _stages(page: Page, folder: Path, path: Path) -> None:
    run = _trained(folder)
    if not list((run / "artifacts").glob("prune*.stages.png")):
        _command(folder, "compression.compress", str(RUN), "--recipe", STAGES)
    (drawn,) = (run / "artifacts").glob("prune*.stages.png")
    shutil.copyfile(drawn, path)


def _explain(page: Page, folder: Path, path: Path) -> None:
    words = ("transformer_seq2seq-addition", "test:3", "--output", "explained")
    if not (folder / "explained").is_dir():
        _command(folder, "zoo.explain", *words)
    shutil.copyfile(folder / "explained" / "test-3-cross_attention.png", path)


def _demo(page: Page, folder: Path, path: Path) -> None:
    words = [sys.executable, "-m", "zoo.demo", "cnn-mnist", "--port", "0", "--no-browser"]
    with subprocess.Popen(words, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next((found[0] for line in server.stdout if (found := re.search(r"http://\S+", line))), None)
            if url is None:
                raise Failed("zoo.demo cnn-mnist: expected the address of its page, it ended without one")
            page.show(url, 1000, 800)  # the answer beside the drawing
            page.wait("document.body.dataset.state !== 'loading'")
            sheet = page.evaluate(
                "(({x, y, width}) => ({x, y, width}))(document.querySelector('.sheet canvas').getBoundingClientRect())"
            )
            page.drag([(sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["width"]) for x, y in SEVEN])
            page.evaluate("new Promise((done) => setTimeout(done, 2000))")
            page.save(path)
        finally:
            server.terminate()


PICTURES: dict[str, Callable[[Page, Path, Path], None]] = {
    "report": _report,
    "compression": _compression,
    "stages": _stages,
    "explain": _explain,
    "demo": _demo,
}


def show(result: Mapping[str, Any]) -> None:
    """Print the path of each picture."""
    for path in result["pictures"]:
        print(path)


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m docs.screenshots",
    description="Make the pictures of docs/images anew, from runs that it makes itself, with a headless Chromium.",
)


if __name__ == "__main__":
    sys.exit(main())
