"""Sets that need no network; zoo.config.EMBEDDED lists them."""

import numpy as np

from zoo.data.images import resize

# scikit-learn's digits hold 0 to 16 and are 8x8; 28x28 is the size of MNIST, which every image model takes.
DIGITS_MAX = 16
DIGITS_SIZE = 28

# Fixed, so that every run has the same sums; the number of each split's examples.
ADDITION_SEED = 0
ADDITION_SPLITS = {"train": 45_000, "validation": 2_500, "test": 2_500}


def digits(image_size: int | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return scikit-learn's digits: (1797, size, size, 1) uint8, (1797,) int32, and the class names."""
    from sklearn.datasets import load_digits

    data = load_digits()
    size = image_size or DIGITS_SIZE
    images = np.rint(data.images * (255 / DIGITS_MAX)).astype(np.uint8)[..., None]
    x = np.stack([resize(image, (size, size)) for image in images])
    return x, data.target.astype(np.int32), tuple(str(name) for name in data.target_names)


def addition() -> dict[str, list[list[str]]]:
    """Return sums of two numbers of three digits, {split: [source texts, target texts]}: "345+678" is "1023".

    No two examples of all splits have the same two numbers, in either order.
    """
    rng = np.random.Generator(np.random.Philox(key=ADDITION_SEED))
    low, high = np.triu_indices(900)
    chosen = rng.choice(len(low), sum(ADDITION_SPLITS.values()), replace=False)
    numbers = 100 + rng.permuted(np.stack([low[chosen], high[chosen]], axis=1), axis=1)  # (examples, 2)
    parts = np.split(numbers, np.cumsum(list(ADDITION_SPLITS.values()))[:-1])
    return {
        split: [[f"{a}+{b}" for a, b in part.tolist()], [str(a + b) for a, b in part.tolist()]]
        for split, part in zip(ADDITION_SPLITS, parts, strict=True)
    }
