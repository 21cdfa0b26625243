"""Which data there are, by name or path: embedded, prepared by TFDS, known to TFDS, one's own.

Standard library only, so that a misspelt name is answered at once.
"""

import importlib.util
import os
import re
from pathlib import Path

from zoo.config import EMBEDDED, TrainConfig, flag
from zoo.errors import UsageError, nearest

# What a file of one's own may end in: arrays, and tables of texts with their delimiter (jsonl has none).
ARRAYS = ".npz"
TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": None}


def data_dir(config: TrainConfig) -> Path:
    """Return the folder that the configuration's TFDS sets are in."""
    return config.data_dir or default_data_dir()


def check_source(config: TrainConfig) -> None:
    """Raise UsageError for a set or a path that does not exist, without reading it."""
    for name in ("data", "validation_data"):
        path = getattr(config, name)
        if path is not None and not path.exists():
            raise UsageError(f"{flag(name)} {path}: expected a file or a folder, found none")
        if path is not None and path.is_file() and path.suffix.lower() not in (ARRAYS, *TABLES):
            raise UsageError(
                f"{flag(name)} {path}: expected a folder of images by class, or a file that ends in"
                f" {ARRAYS}, {', '.join(TABLES)}"
            )
    if config.dataset_is_tfds:
        _check_tfds(config.dataset, data_dir(config))


def default_data_dir() -> Path:
    """Return the folder that TFDS prepares sets in, unless told otherwise."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def prepared_names(data_dir: Path) -> list[str]:
    """List the prepared sets of a folder, with their configurations."""
    found = sorted(data_dir.glob("*/*/features.json")) + sorted(data_dir.glob("*/*/*/features.json"))
    return sorted({file.parent.parent.relative_to(data_dir).as_posix() for file in found})


def tfds_names() -> list[str]:
    """List the names that TFDS knows, from its source files: importing TFDS takes a second."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    root = Path(next(iter(spec.submodule_search_locations)))
    names = {p.name for p in (root / "datasets").iterdir() if p.is_dir() and not p.name.startswith("_")}
    bases: dict[str, str] = {}
    for folder in root.iterdir():
        if not folder.is_dir() or folder.name in ("core", "datasets", "testing", "scripts"):
            continue
        for file in folder.rglob("*.py"):
            if not file.stem.endswith("_test"):
                bases.update(re.findall(r"^class (\w+)\(([\w.]+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    return sorted(names | {_snake_case(name) for name in bases if _is_builder(name, bases)})


def _is_builder(name: str, bases: dict[str, str]) -> bool:
    """Whether a class is a TFDS builder, or derives from one as FashionMNIST does from MNIST."""
    base = bases[name].rpartition(".")[2]
    # A class may be named like its own base: class BuilderConfig(tfds.core.BuilderConfig).
    return base.endswith("Builder") or (base in bases and base != name and _is_builder(base, bases))


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """Return the folder of a prepared set, its newest version unless the name states one, or None."""
    base, _, version = name.partition(":")
    folder = data_dir / base
    versions = [p.parent for p in folder.glob(f"{version or '*'}/features.json")]
    return max(versions, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


def _check_tfds(name: str, data_dir: Path) -> None:
    """Raise UsageError for a name that is neither prepared in `data_dir` nor in TFDS' catalogue."""
    if not data_dir.is_dir() and data_dir != default_data_dir():
        raise UsageError(f"--data-dir {data_dir}: expected a folder, found none")
    if find_prepared(name, data_dir):
        return
    prepared = prepared_names(data_dir)
    base = re.split("[/:]", name)[0]
    configs = [p for p in prepared if p.startswith(base + "/")]
    if configs:
        raise UsageError(
            f"--dataset {name!r}: expected one of the prepared {', '.join(configs)}{nearest(name, configs)}"
        )
    known = tfds_names()
    if base not in known:
        names = [*EMBEDDED, *prepared]
        raise UsageError(
            f"unknown dataset {name!r}: expected one of {', '.join(names)} or a name of TFDS"
            f"{nearest(name, names + known)}"
        )


def _snake_case(name: str) -> str:
    """Return a builder's name from its class name, as TFDS does."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
