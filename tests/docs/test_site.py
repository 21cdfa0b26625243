"""The site of the documentation: built without a warning, whole, and asking no other host for anything."""

import importlib.util
import posixpath
import re
import subprocess
import sys

import pytest

from compression.devices import micro
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("no MkDocs here: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def sidebar(site, path):
    """Return the pages that the sidebar of a page leads to, which shows the folder of that page."""
    links = re.findall(r'<a href="([^"#]+)" class="md-nav__link', path.read_text())
    return {posixpath.normpath(path.relative_to(site).parent.joinpath(link).as_posix()) for link in links}


def test_every_page_of_docs_and_every_module_is_there(site):
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).with_suffix(".html").as_posix() for path in docs.rglob("*.md")}
    assert pages | {"index.html"} <= names
    assert pages | {"index.html"} <= set().union(*(sidebar(site, path) for path in site.rglob("*.html")))
    assert {
        f"reference/{name}.html" for name in ("zoo.api", "zoo.train", "compression.compress", "strategies")
    } <= names
    assert "reference/compression.api.html" in sidebar(site, site / "reference" / "zoo.api.html")
    assert "guides/demo.html" in sidebar(site, site / "guides" / "python.html")
    text = (site / "reference" / "compression.devices.micro.html").read_text()
    assert 'id="compression.devices.micro.arena_at_least"' in text
    assert micro.arena_at_least.__doc__.partition("\n")[0] in text


def test_the_site_needs_no_other_host(site):
    loading = re.compile(
        r"""<(?:script|img|iframe)[^>]+src=["']?(\w+:)?//|<link[^>]+href=["']?(\w+:)?//|@import|url\(["']?http"""
    )
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert pages
    for page in pages:
        assert not (found := loading.search(page.read_text())), f"{page}: {found[0]}"
