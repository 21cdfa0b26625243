"""A hook of MkDocs: the README as the front page, the sidebar, and a page of reference for every module."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGES = ("zoo", "compression", "strategies")
# What a notebook imports, and therefore the first pages of the reference.
PUBLIC = ("zoo.api", "compression.api", "strategies")
# Guides in the order of the sidebar; any other guide follows by name.
GUIDES = (
    *("tutorial", "python", "command_line", "pretrained", "demo"),
    *("training", "data", "strategies", "sweep_and_sizing", "transfer", "online", "privacy"),
    *("compression", "search", "verify", "export"),
    *("texts", "captions", "gans", "graphs"),
    *("evaluate_and_predict", "explain", "robustness", "ensembles", "model_card"),
)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]+)?\)")


def modules(package: str) -> list[str]:
    """Return the dotted names of a package's modules, without commands' entry points and child processes."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith(("__main__", "_child"))]


def on_config(config: Any) -> Any:
    """Put every page into the sidebar: guides, results, contributing, and the reference nested by folder."""
    known = [name for package in PACKAGES for name in modules(package)]
    config.nav = [
        {"Home": "index.md"},
        {"Guides": [f"guides/{name}.md" for name in sorted(_pages("guides"), key=_place)]},
        {"Results": [f"results/{name}.md" for name in _pages("results")]},
        {"Contributing": [f"contributing/{name}.md" for name in _pages("contributing")]},
        {
            "Reference": [
                {"Public": [{name: _page(name)} for name in PUBLIC if name in known]},
                *({package: _nested(package, modules(package))} for package in PACKAGES),
            ]
        },
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the front page, the pictures of the results, and a page for each module, made by mkdocstrings."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    for picture in sorted((ROOT / "benchmarks" / "results").glob("*.png")):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    for package in PACKAGES:
        for name in modules(package):
            files.append(File.generated(config, _page(name), content=f"# {name}\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return a page whose links fit the site; a file of the repository that the site lacks is named by its path."""
    here = page.file.src_uri
    folder = "" if here == "index.md" else posixpath.join("docs", posixpath.dirname(here))
    return _LINK.sub(lambda link: _fitted(link, folder, posixpath.dirname(here)), markdown)


def _fitted(link: re.Match, folder: str, site_folder: str) -> str:
    """Return a link of a page in a folder of the repository as one of the site."""
    mark, text, target, anchor = link.groups("")
    path = posixpath.normpath(posixpath.join(folder, target))
    if path == "README.md":
        path = "docs/index.md"
    elif path.startswith("benchmarks/results/") and path.endswith(".png"):
        path = f"docs/results/{posixpath.basename(path)}"
    if not path.startswith("docs/"):
        return f"{text} (`{path}`)"
    return f"{mark}[{text}]({posixpath.relpath(path, posixpath.join('docs', site_folder))}{anchor})"


def _pages(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "docs" / folder).glob("*.md"))


def _place(guide: str) -> tuple[int, str]:
    return (GUIDES.index(guide) if guide in GUIDES else len(GUIDES), guide)


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
