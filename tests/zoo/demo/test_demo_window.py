"""The page of the demo in the windows of a phone and of a desk."""

import re
import shutil
import subprocess
import sys

import pytest

from docs import browser
from docs.screenshots import SEVEN
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(map(shutil.which, browser.PROGRAMS)), reason="no Chromium or Chrome is installed"),
]
BOX = "(({x, y, width, bottom, right}) => ({x, y, width, bottom, right}))(%s.getBoundingClientRect())"


@pytest.fixture(scope="module")
def url():
    words = [sys.executable, "-m", "zoo.demo", "cnn-mnist", "--port", "0", "--no-browser"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            server.terminate()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_answer_stands_beside_the_drawing(url, width, height):
    with browser.opened(browser.program()) as page:
        page.show(url, width, height)
        page.wait("document.body.dataset.state !== 'loading'")
        sheet = page.evaluate(BOX % "document.querySelector('.sheet canvas')")
        page.drag([(sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["width"]) for x, y in SEVEN])
        page.wait("[...document.querySelectorAll('.head strong')].every((e) => e.textContent === '7')")
        heads = page.evaluate(BOX % "document.querySelector('.heads')")
        assert heads["x"] >= sheet["right"] and heads["bottom"] < height
        assert page.evaluate("document.documentElement.scrollWidth") <= width
