"""A hook of MkDocs: a page of reference for every module, and links out of docs/ as paths in the repository."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGES = ("zoo", "compression", "strategies")
PAGES = ["index.md", "TUTORIAL.md", "SCALING.md", "PRIVACY.md", "MODEL_CARD.md"]
_OUTWARD = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def modules(package: str) -> list[str]:
    """Return the dotted names of a package's modules, commands and pages for other machines left out."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith(("__main__", "_child"))]


def on_config(config: Any) -> Any:
    """Put the pages of the reference into the navigation, below those of docs/."""
    reference = [{package: [{name: f"reference/{name}.md"} for name in modules(package)]} for package in PACKAGES]
    config.nav = [*PAGES, {"Reference": reference}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each module, of which mkdocstrings makes the text."""
    for package in PACKAGES:
        for name in modules(package):
            files.append(File.generated(config, f"reference/{name}.md", content=f"# {name}\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return a page whose links to files outside of docs/, which the site has not, are their paths."""
    return _OUTWARD.sub(r"\1 (`\2`)", markdown)
