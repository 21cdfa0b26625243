"""A headless Chromium that shows a page and is drawn on, by the DevTools protocol on pipes. Standard library only."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.console.errors import Failed, UsageError

# Names of programs that speak the protocol.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
SECONDS = 60.0


def program(chosen: Path | None = None) -> str:
    """Return the path of a browser.

    Args:
        chosen: Program to use; default, the first of PROGRAMS that is installed.

    Raises:
        UsageError: There is none.
    """
    if chosen is not None:
        if found := shutil.which(chosen):
            return found
        raise UsageError(f"--browser {chosen}: expected a program of Chromium or Chrome, found none")
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise UsageError(f"--browser: expected Chromium or Chrome, found none of {', '.join(PROGRAMS)}; install chromium")


class Page:
    """A page in a browser that `opened` started.

    Args:
        send: Pipe to the browser.
        received: Pipe from the browser.
    """

    def __init__(self, send: int, received: int):
        self._send, self._received = send, received
        self._count, self._rest = 0, b""
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")

    def show(self, url: str, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        """Show a page in a window of a size in CSS pixels, and wait until it has loaded.

        Args:
            url: Address of the page.
            width: Width of the window.
            height: Height of the window.
            dark: Whether the reader prefers a dark page.
            scale: Pixels of the screen in a CSS pixel.
        """
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="", features=[scheme])
        self._ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript, awaited if it is a promise."""
        found = self._ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise Failed(f"{expression}: {found['exceptionDetails'].get('exception', {}).get('description', 'failed')}")
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a condition in JavaScript holds.

        Raises:
            Failed: It does not within SECONDS.
        """
        pause = "await new Promise((done) => setTimeout(done, 50));"
        loop = f"while (!({condition})) {{ if (Date.now() > end) return false; {pause} }} return true;"
        if not self.evaluate(f"(async () => {{ const end = Date.now() + {SECONDS * 1000:.0f}; {loop} }})()"):
            raise Failed(f"the page did not come to {condition} in {SECONDS:g} s")

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Press the mouse at the first of some points in CSS pixels, move it through the others, and let it go."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def save(self, path: Path, selector: str = "html", most: int = 20_000) -> None:
        """Write a picture of an element as PNG, also of what the window does not show of it.

        Args:
            path: Path of the picture.
            selector: CSS selector of the element.
            most: Height in CSS pixels at which the picture is cut.
        """
        box = "(({x, y, width, height}) => ({x: x + scrollX, y: y + scrollY, width, height, scale: 1}))"
        clip = self.evaluate(f"{box}(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        clip["height"] = min(clip["height"], most)
        found = self._ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """Close the browser."""
        self._session = None
        self._ask("Browser.close")

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._received, 1 << 20)
                if not part:
                    raise Failed(f"the browser ended during {method}")
                self._rest += part
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]


@contextlib.contextmanager
def opened(browser: str) -> Iterator[Page]:
    """Start a browser without a window, and yield a page of it; the browser ends with the block.

    Args:
        browser: Path of the program.
    """
    # The browser reads file descriptor 3 and writes 4.
    to, answers = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]  # fmt: skip
        shim = f"import os, sys; os.dup2({to[0]}, 3); os.dup2({answers[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        shell = [sys.executable, "-c", shim, *words]
        child = subprocess.Popen(
            shell, pass_fds=(to[0], answers[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to[0])
        os.close(answers[1])
        try:
            page = Page(to[1], answers[0])
            yield page
            page.close()
        finally:
            for pipe in (to[1], answers[0]):
                os.close(pipe)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
            child.wait()
