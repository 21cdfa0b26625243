"""Pictures in files, for the tests of examples that are decoded when they are looked at."""

import numpy as np
import pytest

from tests.zoo.data.encoding import encoded


def picture(rng, height, width):
    """Return a picture with areas, which JPEG keeps."""
    return np.kron(rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)), np.ones((8, 8, 1)))[
        :height, :width
    ].astype("uint8")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    sizes = [(64, 96), (96, 64), (40, 40), (200, 120)]
    return [picture(rng, *sizes[i % 4]) for i in range(60)]


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    for i, image in enumerate(pictures):
        place = root / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        (place / f"{i:02}.jpg").write_bytes(encoded(image))
    return root
