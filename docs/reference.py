"""A hook of MkDocs: the sidebar, the README as a page of its own, and pages of reference made of the docstrings."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGES = ("zoo", "compression", "strategies")
# What a notebook imports: the reference. All other modules are for those who work on the project.
PUBLIC = ("zoo.api", "compression.api", "strategies")
# A line of the README's list of guides: their group, and links to them.
_GROUP = re.compile(r"^- (\w[\w ]*): (.*?)(?=^- |^$|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]+)?\)")


def modules(package: str) -> list[str]:
    """Return the dotted names of a package's modules, without commands' entry points and child processes."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith(("__main__", "_child"))]


def _internal(package: str) -> list[str]:
    """Return the modules of a package that are not in the public reference; a page has one place in the sidebar."""
    return [name for name in modules(package) if name not in PUBLIC]


def on_config(config: Any) -> Any:
    """Put every page into the sidebar: guides by their groups, results, the public reference, and the modules."""
    known = [name for package in PACKAGES for name in modules(package)]
    config.nav = [
        {"Home": "index.md"},
        {"Overview": "overview.md"},
        *({group: pages} for group, pages in guides().items()),
        {"Results": [f"results/{name}.md" for name in _pages("results")]},
        {"Reference": [{name: _page(name)} for name in PUBLIC if name in known]},
        {
            "Contributing": [
                *(f"contributing/{name}.md" for name in _pages("contributing")),
                {"Modules": [{package: _nested(package, _internal(package))} for package in PACKAGES]},
            ]
        },
    ]
    return config


def guides() -> dict[str, list[str]]:
    """Return the pages of the guides by group, in the order of the README's list."""
    listed = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Guides")[2]
    return {group: re.findall(r"\(docs/(guides/\w+\.md)\)", links) for group, links in _GROUP.findall(listed)}


def on_files(files: Files, config: Any) -> Files:
    """Add the README, the pictures of the results, and a page for each module, made by mkdocstrings."""
    files.append(File.generated(config, "overview.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    for picture in sorted((ROOT / "benchmarks" / "results").glob("*.png")):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    for package in PACKAGES:
        for name in modules(package):
            files.append(File.generated(config, _page(name), content=f"# {name}\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return a page whose links fit the site; a file of the repository that the site lacks is named by its path."""
    here = page.file.src_uri
    folder = "" if here == "overview.md" else posixpath.join("docs", posixpath.dirname(here))
    return _LINK.sub(lambda link: _fitted(link, folder, posixpath.dirname(here)), markdown)


def _fitted(link: re.Match, folder: str, site_folder: str) -> str:
    """Return a link of a page in a folder of the repository as one of the site."""
    mark, text, target, anchor = link.groups("")
    path = posixpath.normpath(posixpath.join(folder, target))
    if path == "README.md":
        path = "docs/overview.md"
    elif path.startswith("benchmarks/results/") and path.endswith(".png"):
        path = f"docs/results/{posixpath.basename(path)}"
    if not path.startswith("docs/"):
        return f"{text} (`{path}`)"
    return f"{mark}[{text}]({posixpath.relpath(path, posixpath.join('docs', site_folder))}{anchor})"


def _pages(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "docs" / folder).glob("*.md"))


def _page(name: str) -> str:
    return f"reference/{name}.md"


def _nested(package: str, names: list[str]) -> list[dict[str, Any]]:
    """Return the part of the sidebar for a package: its own page, its modules, then a group for each folder."""
    own = [{package: _page(package)}] if package in names else []
    below = sorted(name for name in names if name.startswith(f"{package}."))
    children = sorted({".".join(name.split(".")[: package.count(".") + 2]) for name in below})
    folders = [child for child in children if any(name.startswith(f"{child}.") for name in below)]
    files = [{child.rpartition(".")[2]: _page(child)} for child in children if child not in folders]
    return [*own, *files, *({child.rpartition(".")[2]: _nested(child, below)} for child in folders)]
