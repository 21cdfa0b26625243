"""What the tests of the demo page share: its JavaScript in node, and Chromium that drives it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from zoo.demo import __main__ as demo

BROWSER = Path(__file__).parent / "browser"


@pytest.fixture
def javascript(tmp_path):
    """Return a function that runs JavaScript with the modules of the page and returns its JSON output."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the page's JavaScript with")
    shutil.copytree(demo.PAGE, tmp_path / "page")
    (tmp_path / "page" / "package.json").write_text('{"type": "module"}')

    def run(code, value):
        (tmp_path / "page" / "value.json").write_text(json.dumps(value))
        (tmp_path / "page" / "run.js").write_text(
            'import { readFileSync } from "node:fs";\n'
            'const value = JSON.parse(readFileSync("value.json", "utf8"));\n'
            f"{code}"
        )
        done = subprocess.run([node, "run.js"], cwd=tmp_path / "page", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Return the folder with puppeteer and Chromium in node_modules: $ZOO_TEST_BROWSER, or one installed by npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node and npm, by which Chromium is had and LiteRT.js fetched")
    if given := os.environ.get("ZOO_TEST_BROWSER"):
        return Path(given)
    folder = tmp_path_factory.mktemp("browser")
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(BROWSER / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"npm cannot fetch Chromium here: {done.stderr.strip()[:200]}")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Share one cache among all pages, so that LiteRT.js is fetched once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def browse(packages, cache, tmp_path):
    """Return a function that drives the page of a run, file or address through steps and returns what it read."""
    children = []

    def address(source):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "ZOO_CACHE": str(cache)}
        words = [sys.executable, "-m", "zoo.demo", str(source), "--port", "0", "--no-browser"]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        children.append(child)
        return next(line.strip() for line in child.stdout if line.startswith("http"))

    def run(source, steps, **plan):
        url = source if str(source).startswith("http") else address(source)
        file = tmp_path / "plan.json"
        file.write_text(json.dumps({"url": url, "steps": steps, **plan}))
        done = subprocess.run(
            ["node", BROWSER / "demo.mjs", packages, file], capture_output=True, text=True, timeout=300, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert not answer["errors"] or {"without", "damaged"} & set(plan), answer["errors"]
        assert not answer["elsewhere"]
        return answer["found"]

    yield run
    for child in children:
        child.terminate()
        child.communicate(timeout=30)
