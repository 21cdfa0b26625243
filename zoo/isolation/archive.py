"""A look at a .keras file without Keras: what it declares, before anything of it is read. Standard library only."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.console.errors import UsageError

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz")
ASSETS = "assets"
# Keras writes members uncompressed. Trained weights that somebody compressed shrink by less than a tenth, and the most
# that DEFLATE reaches is 1032 (https://zlib.net/zlib_tech.html).
MOST_EXPANSION = 100
# Members that declare less than this may shrink by any factor, such as biases that are all zero. Bytes.
SMALL = 16 << 20
# The configurations of the largest models in keras.applications have 1 MB.
MOST_CONFIG_BYTES = 16 << 20
# A model inside a model adds about six levels.
MOST_LEVELS = 200
MOST_MEMBERS = 10_000
# Of one model; those inside it have their own. The deepest models in keras.applications have about 1,000.
MOST_LAYERS = 5_000
# Arguments of Keras' layers that each stand for at least one weight per unit.
_WIDTHS = ("units", "filters", "output_dim")
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class ModelArchive:
    """What a .keras file declares.

    Args:
        weights_bytes: Uncompressed size of its weights and assets.
        config_bytes: Size of its configuration.
        classes: Registered names of the classes and functions that its configuration names.
    """

    weights_bytes: int
    config_bytes: int
    classes: frozenset[str]


def look(path: Path) -> ModelArchive:
    """Check the declared sizes and the configuration of a .keras file.

    Args:
        path: Path of the file.

    Raises:
        UsageError: Not such a file, or one that is damaged, declares more than it stores, or holds Python code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            config = archive.read(CONFIG)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: expected a .keras file, received one that is damaged: {error}") from None
    stored = sum(info.file_size for name, info in members.items() if name not in (CONFIG, METADATA))
    parsed, classes = _parsed(path, config), set()
    for part in _parts(path, parsed):
        classes |= {str(part[key]) for key in ("registered_name", "class_name") if part.get(key)}
        _check_part(path, part, stored)
    return ModelArchive(stored, len(config), frozenset(classes))


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, after checking what they declare."""
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise UsageError(f"{path}: expected at most {MOST_MEMBERS:,} members in a .keras file, received {len(infos):,}")
    members = {info.filename: info for info in infos}
    if len(members) < len(infos):
        raise UsageError(f"{path}: expected one member for each name, received several of the same name")
    for name, info in members.items():
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise UsageError(f"{path}: expected members inside the archive, received {name!r}")
        if name not in (CONFIG, METADATA, *WEIGHTS) and inside.parts[:1] != (ASSETS,):
            expected = f"{METADATA}, {CONFIG}, {WEIGHTS[0]} and {ASSETS}/"
            raise UsageError(f"{path}: expected the members {expected} of a .keras file, received {name!r}")
        if info.flag_bits & 1 or info.compress_type not in _READABLE:
            raise UsageError(f"{path}: expected members that are stored or deflated, {name} is encrypted or packed")
        if info.file_size > max(SMALL, MOST_EXPANSION * info.compress_size):
            raise UsageError(
                f"{path}: expected at most {MOST_EXPANSION} times the stored bytes, {name} has {info.compress_size:,}"
                f" bytes and unpacks to {info.file_size:,}"
            )
    if sum(info.compress_size for info in infos) > path.stat().st_size:
        raise UsageError(f"{path}: expected members beside each other, received members that share their bytes")
    if CONFIG not in members or not members.keys() & set(WEIGHTS):
        absent = CONFIG if CONFIG not in members else WEIGHTS[0]
        raise UsageError(f"{path}: expected a .keras file, received an archive without {absent}")
    for name in (CONFIG, METADATA):
        if name in members and members[name].file_size > MOST_CONFIG_BYTES:
            received = members[name].file_size
            raise UsageError(f"{path}: expected a {name} of at most {MOST_CONFIG_BYTES:,} bytes, received {received:,}")
    return members


def _parsed(path: Path, text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise UsageError(f"{path}: expected at most {MOST_LEVELS} levels in its {CONFIG}, received more") from None
    except ValueError as error:
        raise UsageError(f"{path}: expected a .keras file, its {CONFIG} is no JSON: {error}") from None


def _parts(path: Path, config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a configuration, after checking the number of its levels."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise UsageError(f"{path}: expected the configuration of a model in its {CONFIG}")
    level, depth = [config], 1
    while level:
        if depth > MOST_LEVELS:
            raise UsageError(f"{path}: expected at most {MOST_LEVELS} levels in its {CONFIG}, received more")
        yield from (part for part in level if isinstance(part, dict))
        inner = (part.values() if isinstance(part, dict) else part for part in level)
        level = [one for part in inner for one in part if isinstance(one, (dict, list))]
        depth += 1


def _check_part(path: Path, part: dict[str, Any], stored: int) -> None:
    """Raise UsageError for Python code, and for a layer of Keras with more units than there are bytes of weights."""
    if part.get("class_name") == "__lambda__":
        raise UsageError(
            f"{path}: expected a model without Python code, received a Lambda layer, whose code could do anything;"
            " write it as a registered layer"
        )
    config = part.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    if isinstance(layers, list) and len(layers) > MOST_LAYERS:
        raise UsageError(f"{path}: expected at most {MOST_LAYERS:,} layers in a model, received {len(layers):,}")
    if not (isinstance(config, dict) and str(part.get("module", "")).startswith("keras.")):
        return
    for name in _WIDTHS:
        width = config.get(name)
        if isinstance(width, (int, float)) and width > stored:
            raise UsageError(
                f"{path}: expected layers that agree with the weights, {part.get('class_name')}"
                f" {str(config.get('name', ''))[:40]!r} has {name}={width:,} and the weights {stored:,} bytes"
            )
