"""The .tflite files of a run that the page shows, compressed first if there are none. Standard library only."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from strategies import processes
from zoo.console import cli, progress
from zoo.console.errors import Failed, UsageError
from zoo.runs.folder import RunFolder

# Recipes: the reference, the small file if the run has no other, and the substitute if int8 is refused.
REFERENCE, SMALL, OTHERWISE = "float32", "int8", "dynamic"
REFUSED = 2  # exit status of a command that refuses its input


def files(source: Path, data_dir: Path | None) -> list[Path]:
    """Return the files to show, float32 first.

    Args:
        source: Run folder, or a .tflite file, which is returned alone.
        data_dir: Folder of prepared TFDS sets, used if files have to be made.

    Raises:
        UsageError: If the source is neither a file nor a finished run, or the run cannot be compressed.
        Failed: If a compression fails.
    """
    if source.is_file():
        return [source]
    if source.suffix == ".tflite":
        raise UsageError(f"{source}: expected a .tflite file or the folder of a run, found none")
    folder = RunFolder(source)
    folder.read_metrics()
    artifacts = folder.path / "artifacts"
    found = {path.stem for path in artifacts.glob("*.tflite")}
    missing = [] if REFERENCE in found else [REFERENCE]
    missing += [] if found - {REFERENCE} else [SMALL]
    _make(folder.path, missing, data_dir)
    paths = sorted(artifacts.glob("*.tflite"), key=lambda path: (path.stem != REFERENCE, path.stem != SMALL, path.name))
    if not paths:
        raise UsageError(f"{source}: expected a run that can be compressed, all recipes were refused")
    return paths


def _make(run_folder: Path, recipes: Sequence[str], data_dir: Path | None) -> None:
    """Compress a run by several recipes in parallel child processes, and report those that are refused."""
    if not recipes:
        return
    cli.say(f"compressing {run_folder} to {' and '.join(recipes)} first; this is done once, and may take minutes")
    where = ["--data-dir", str(data_dir)] if data_dir else []
    command = processes.command("compression.compress", str(run_folder), *where, "--recipe")
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    children = {recipe: subprocess.Popen([*command, recipe], **pipes) for recipe in recipes}
    refused = []
    for number, (recipe, child) in enumerate(children.items()):
        with progress.bar(f"compressing {run_folder.name} to {recipe}"):
            progress.part(number, len(children), "files")
            said = child.communicate()[1].strip().splitlines()
        if child.returncode == REFUSED:
            refused.append(recipe)
            cli.say(f"no {recipe} file: {said[-1]}")
        elif child.returncode:
            raise Failed(f"{run_folder} could not be compressed to {recipe}: {said[-1] if said else child.returncode}")
    if SMALL in refused:
        _make(run_folder, [OTHERWISE], data_dir)
