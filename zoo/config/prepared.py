"""TFDS sets that are prepared on this machine. Standard library only."""

import json
import os
import re
from pathlib import Path

# What TFDS writes beside the configurations of a set, {"default_config_name": "plain_text"}.
_DEFAULT = Path(".config", "metadata.json")
# Sets of texts that are known before they are downloaded.
_OF_TEXTS = ("ag_news_subset", "amazon_us_reviews", "glue", "imdb_reviews", "sentiment140", "yelp_polarity_reviews")


def default_data_dir() -> Path:
    """Return the folder in which TFDS prepares sets by default."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def prepared_names(data_dir: Path) -> list[str]:
    """Return the names of the prepared sets in a folder, with their configurations."""
    found = sorted(data_dir.glob("*/*/features.json")) + sorted(data_dir.glob("*/*/*/features.json"))
    return sorted({file.parent.parent.relative_to(data_dir).as_posix() for file in found})


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """Return the folder of a prepared set, or None. Without a version in the name it is the newest.

    The name of a set with configurations means its default one, as in TFDS; where its files do not say which that is,
    the only one that is prepared.
    """
    base, _, version = name.partition(":")
    return _newest(data_dir / base, version) or _of_default(data_dir / base, version)


def _newest(folder: Path, version: str) -> Path | None:
    versions = [p.parent for p in folder.glob(f"{version or '*'}/features.json")]
    return max(versions, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


def _of_default(folder: Path, version: str) -> Path | None:
    """Return the folder of the default configuration of a set."""
    try:
        name = json.loads((folder / _DEFAULT).read_bytes())["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        prepared = sorted({p.parent.parent.name for p in folder.glob("*/*/features.json")})
        name = prepared[0] if len(prepared) == 1 else None
    return _newest(folder / name, version) if isinstance(name, str) else None


def holds_texts(data: Path | None, dataset: str | None, data_dir: Path | None, tables: tuple[str, ...]) -> bool:
    """Return whether data are texts, by the suffix of a file or by the features of a TFDS set.

    Args:
        data: Path of own data.
        dataset: Name of a set, if there are no own data.
        data_dir: Folder of the TFDS sets; None for the default one.
        tables: Suffixes of tables.
    """
    if data is not None:
        return data.suffix.lower() in tables
    folder = find_prepared(dataset or "", data_dir or default_data_dir()) if dataset else None
    if folder is None:
        return (dataset or "").split("/")[0].split(":")[0] in _OF_TEXTS
    try:
        features = (folder / "features.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return bool(re.search(r"[._]Text\"", features)) and not re.search(r"\.Image\"", features)
