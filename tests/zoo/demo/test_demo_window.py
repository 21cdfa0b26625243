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
        heads, titles = (
            page.evaluate(BOX % f"document.querySelector('{name}')") for name in (".heads", "#answer-title")
        )
        assert titles["bottom"] <= heads["y"] + 1
        assert heads["x"] >= sheet["right"] and abs(heads["y"] - sheet["y"]) < 4 and heads["bottom"] < height
        assert page.evaluate("document.documentElement.scrollWidth") <= width


CAMERA = """(() => {
  const sheet = document.createElement('canvas'), points = %s;
  Object.assign(sheet, {width: 240, height: 240});
  const context = sheet.getContext('2d');
  const paint = () => {
    context.fillRect(0, 0, 240, 240);
    Object.assign(context, {strokeStyle: 'white', lineWidth: 22});
    context.beginPath();
    for (const [x, y] of points) context.lineTo(240 * x, 240 * y);
    context.stroke();
    requestAnimationFrame(paint);
  };
  paint();
  navigator.mediaDevices.getUserMedia = async () => sheet.captureStream();
})()"""
BUTTON = "[...document.querySelectorAll('button')].find((each) => each.textContent.endsWith('the camera'))"


def test_a_classifier_looks_through_the_camera_until_something_is_drawn(url):
    with browser.opened(browser.program()) as page:
        page.show(url, 390, 844)
        page.wait("document.body.dataset.state !== 'loading'")
        page.evaluate(CAMERA % list(map(list, SEVEN)))
        page.evaluate(f"{BUTTON}.click()")
        page.wait("[...document.querySelectorAll('.head strong')].every((e) => e.textContent === '7')")
        assert page.evaluate(f"{BUTTON}.textContent") == "Stop the camera"
        sheet = page.evaluate(BOX % "document.querySelector('.sheet canvas')")
        page.drag([(sheet["x"] + sheet["width"] / 2, sheet["y"] + y * sheet["width"]) for y in (0.2, 0.4, 0.6, 0.8)])
        page.wait(f"{BUTTON}.textContent === 'Use the camera'")
        page.wait("[...document.querySelectorAll('.head strong')].every((e) => e.textContent === '1')")
