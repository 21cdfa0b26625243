"""The commands of the tutorial run in its order; tests/docs/test_commands.py parses them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from compression.recipes import language
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "guides" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```sh( demo)?\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for _, block in BLOCKS for line in block.splitlines() if line.startswith("python -m ")]
ALL = {"zoo.train", "zoo.predict", "zoo.evaluate", "zoo.demo"} | {
    f"compression.{name}" for name in ("compress", "verify", "snippets", "to_c")
}


def test_the_whole_road_is_walked():
    assert {line.split()[2] for line in COMMANDS} == ALL
    assert TEXT.count("```") == 2 * len(BLOCKS)  # no block that is not run


def test_the_file_of_the_recipe_is_the_one_that_is_verified():
    (line,) = (line for line in COMMANDS if "compression.compress" in line)
    words = shlex.split(line)
    recipe, output = (words[words.index(option) + 1] for option in ("--recipe", "--output"))
    assert f"{output}/{language.parse(recipe).file_name}.tflite" in TEXT


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_commands_run_in_an_empty_folder(tmp_path):
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for demo, block in BLOCKS:
        if demo:
            check_demo(block, tmp_path, env)
            continue
        done = subprocess.run(["bash", "-euc", block], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert (tmp_path / "runs" / "pictures" / "report.html").is_file()
    metrics = json.loads((tmp_path / "runs" / "pictures" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.6  # of three classes, a third by chance
    (file,) = (tmp_path / "small").glob("*.tflite")
    labels = file.with_suffix(".labels.txt").read_text().split()
    assert labels == ["circle", "square", "triangle"]
    assert {path.name for path in (tmp_path / "phone").iterdir()} == {
        *("android.kt", "ios.swift", "microcontroller.cc", file.name)
    }
    assert '"image": int8 [1, 28, 28, 1]' in (tmp_path / "phone" / "ios.swift").read_text()
    assert len(list((tmp_path / "board").iterdir())) == 2


def check_demo(block, folder, env):
    """Start the page, read it and end it; without npm there is none."""
    if not shutil.which("npm"):
        return
    words = [sys.executable, *shlex.split(block)[1:], "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=folder, env=env | {"PYTHONUNBUFFERED": "1"}, **pipes) as child:
        try:
            url = next((line.strip() for line in child.stdout if line.startswith("http://")), None)
            if url is None and "npm could not fetch" in (error := child.stderr.read()):
                return
            assert url, error
            with urllib.request.urlopen(url, timeout=60) as page:
                assert b"<title>" in page.read()
        finally:
            child.kill()
