"""Sets that need no network; zoo.config.EMBEDDED lists them."""

import numpy as np

from zoo.data.images import resize

# scikit-learn's digits hold 0 to 16 and are 8x8; 28x28 is the size of MNIST, which every image model takes.
DIGITS_MAX = 16
DIGITS_SIZE = 28


def digits(image_size: int | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return scikit-learn's digits: (1797, size, size, 1) uint8, (1797,) int32, and the class names."""
    from sklearn.datasets import load_digits

    data = load_digits()
    size = image_size or DIGITS_SIZE
    images = np.rint(data.images * (255 / DIGITS_MAX)).astype(np.uint8)[..., None]
    x = np.stack([resize(image, (size, size)) for image in images])
    return x, data.target.astype(np.int32), tuple(str(name) for name in data.target_names)
