"""The pictures of the documentation are made by a command, which needs a browser."""

import re
import shutil
import struct

import pytest

from docs import browser, screenshots
from tests.conftest import ROOT

PAGE = """<meta name=viewport content='width=device-width'><title>a page</title>
<body style='margin:0'><div id=box style='width:90px;height:40px;background:#00f'></div>"""


def words(*given):
    return [*map(str, given)]


def test_every_picture_of_the_guides_has_a_maker():
    drawn = {path.stem for path in (ROOT / "docs" / "images").glob("*.png")}
    assert drawn <= set(screenshots.PICTURES)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (words("--only", "repot"), "--only: expected some of report, .*, received 'repot'; did you mean 'report'"),
        (words("--browser", "nothing"), "--browser nothing: expected a program of Chromium or Chrome, found none"),
    ],
)  # fmt: skip
def test_mistakes(given, sentence, capsys):
    assert screenshots.main(given) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_without_a_browser_the_sentence_names_those_that_will_do(monkeypatch, capsys):
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    assert screenshots.main([]) == 2
    assert "--browser: expected Chromium or Chrome, found none of chromium," in capsys.readouterr().err


@pytest.mark.skipif(not any(map(shutil.which, browser.PROGRAMS)), reason="no Chromium or Chrome is installed")
def test_a_page_is_drawn_at_its_size_and_in_dark(tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    with browser.opened(browser.program()) as page:
        page.show((tmp_path / "page.html").as_uri(), 390, 300, dark=True)
        assert page.evaluate("document.title") == "a page" and page.evaluate("innerWidth") == 390
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is True
        page.save(tmp_path / "box.png", "#box")
    content = (tmp_path / "box.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", content[16:24]) == (90, 40)
