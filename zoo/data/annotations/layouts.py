"""The layouts of annotated pictures, recognised by their content."""

from pathlib import Path
from types import ModuleType

from zoo.console.errors import UsageError
from zoo.data.annotations import coco, voc, yolo
from zoo.data.annotations.annotated import Annotated, without_repeats
from zoo.system.files import is_hidden

# In the order in which they are tried: a YOLO folder may hold a COCO file that it was converted from.
LAYOUTS = (yolo, coco, voc)
EXPECTED = (
    "annotated pictures: Pascal VOC (XML files in Annotations/ or beside the pictures), COCO (a JSON file of images,"
    " annotations and categories) or YOLO (data.yaml or classes.txt, and text files in labels/)"
)


def read(path: Path) -> Annotated:
    """Return the annotated pictures of a folder in any layout; a folder in it may hold them all.

    Raises:
        UsageError: No known layout.
    """
    if (found := _found(path)) is None:
        raise UsageError(f"--data {path}: expected {EXPECTED}; found none of them")
    layout, root = found
    return without_repeats(layout.read(root))


def is_annotated(path: Path) -> bool:
    """Return whether a folder holds annotated pictures in a known layout."""
    return path.is_dir() and _found(path) is not None


def _found(root: Path) -> tuple[ModuleType, Path] | None:
    """Return the layout of a folder, and the folder in it that has it; archives often hold a folder in a folder."""
    while True:
        for layout in LAYOUTS:
            if layout.found_in(root):
                return layout, root
        inside = [p for p in root.iterdir() if p.is_dir() and not is_hidden(p.name)]
        if len(inside) != 1:
            return None
        root = inside[0]
