"""Data sets that come with the package and need no network; `zoo.config.train_config.EMBEDDED` lists them."""

import numpy as np

from zoo.config.task_facts import USUAL_FIT
from zoo.data.fitting import resize

# scikit-learn's digits have 8x8 pixels from 0 to 16. They are resized to 28x28 as in MNIST, which suits every model.
DIGITS_MAX = 16
DIGITS_SIZE = 28

# Fixed seed, so that every run has the same sums, and the number of examples in each split.
ADDITION_SEED = 0
ADDITION_SPLITS = {"train": 45_000, "validation": 2_500, "test": 2_500}

# Likewise for pictures of shapes.
SHAPES = ("background", "circle", "square", "triangle")
SHAPES_SEED, SHAPES_SIZE = 0, 48
SHAPES_SPLITS = {"train": 400, "validation": 100, "test": 200}

# Couples (man, woman) and their children in each family, in the order of Hinton's (1986) figure. Both families have the
# same tree.
FAMILIES = (
    (
        (("Christopher", "Penelope"), ("Arthur", "Victoria")),
        (("Andrew", "Christine"), ("James", "Jennifer")),
        (("Arthur", "Margaret"), ()),
        (("James", "Victoria"), ("Colin", "Charlotte")),
        (("Charles", "Jennifer"), ()),
    ),
    (
        (("Roberto", "Maria"), ("Emilio", "Lucia")),
        (("Pierro", "Francesca"), ("Marco", "Angela")),
        (("Emilio", "Gina"), ()),
        (("Marco", "Lucia"), ("Alfonso", "Sophia")),
        (("Tomaso", "Angela"), ()),
    ),
)


def digits(image_size: int | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return scikit-learn's digits: images (1797, size, size, 1) uint8, labels (1797,) int32, and class names.

    Args:
        image_size: Height and width in pixels; None for 28.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    size = image_size or DIGITS_SIZE
    images = np.rint(data.images * (255 / DIGITS_MAX)).astype(np.uint8)[..., None]
    x = np.stack([resize(image, (size, size), USUAL_FIT) for image in images])
    return x, data.target.astype(np.int32), tuple(str(name) for name in data.target_names)


def shapes(image_size: int | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return pictures of shapes with their masks, {split: (pictures, masks)}.

    Pictures are (examples, size, size, 3) uint8: one to four shapes of random sizes, places and colours, which tell
    their kind in part, the later ones over the earlier ones, on a slope between two colours, with noise. Masks are
    (examples, size, size) uint8, indices of `SHAPES`.

    Args:
        image_size: Height and width in pixels; None for 48.
    """
    size = image_size or SHAPES_SIZE
    rng = np.random.Generator(np.random.Philox(key=SHAPES_SEED))
    found = {}
    for split, count in SHAPES_SPLITS.items():
        drawn = [_shapes_picture(size, rng) for _ in range(count)]
        found[split] = tuple(np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return found


def _shapes_picture(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return one picture (size, size, 3) and its mask (size, size)."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    ends = rng.uniform(0, 255, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
    picture, mask = (1 - slope) * ends[0] + slope * ends[1], np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 5)):
        kind, radius = rng.integers(1, len(SHAPES)), rng.uniform(0.1, 0.25)
        turn, (right, down) = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9, 2)
        u = ((x - right) * np.cos(turn) + (y - down) * np.sin(turn)) / radius
        v = ((y - down) * np.cos(turn) - (x - right) * np.sin(turn)) / radius
        inside = {
            1: u**2 + v**2 < 1,
            2: np.maximum(abs(u), abs(v)) < 0.8,
            3: (v > -0.5) & (v < 1 - np.sqrt(3) * abs(u)),  # equilateral, in the circle of this radius
        }[int(kind)]
        colour = rng.uniform(0, 160, 3)
        colour[kind - 1] = rng.uniform(120, 255)  # circles tend to red, squares to green, triangles to blue
        picture[inside], mask[inside] = colour, kind
    noisy = picture + rng.normal(0, 12, (size, size, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), mask


def addition() -> dict[str, list[list[str]]]:
    """Return sums of two three-digit numbers, {split: [source texts, target texts]}, such as "345+678" and "1023".

    Each pair of numbers, in either order, occurs once over all splits.
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


def family() -> list[tuple[str, str, str]]:
    """Return the kinship of two families of 12 as triples (person, relation, relative), such as (Colin, father, James).

    The 12 relations are husband, wife, father, mother, son, daughter, brother, sister, uncle, aunt, nephew and niece,
    the last four also by marriage. Each family has 56 triples.
    """
    found = []
    for couples in FAMILIES:
        men = {man for (man, _), _ in couples} | {children[0] for _, children in couples if children}
        spouses = {person: other for pair, _ in couples for person, other in (pair, pair[::-1])}
        parents = {child: pair for pair, children in couples for child in children}
        siblings = {child: [c for c in children if c != child] for _, children in couples for child in children}
        for person in dict.fromkeys(name for pair, children in couples for name in (*pair, *children)):
            blood = [other for parent in parents.get(person, ()) for other in siblings.get(parent, ())]
            nephews = [
                child
                for side in (person, spouses.get(person))
                for sibling in siblings.get(side, ())
                for child, pair in parents.items()
                if sibling in pair
            ]
            relatives = {
                ("husband", "wife"): [spouses[person]] if person in spouses else [],
                ("father", "mother"): parents.get(person, ()),
                ("son", "daughter"): [child for child, pair in parents.items() if person in pair],
                ("brother", "sister"): siblings.get(person, ()),
                ("uncle", "aunt"): [*blood, *(spouses[other] for other in blood if other in spouses)],
                ("nephew", "niece"): nephews,
            }
            for (male, female), others in relatives.items():
                found += [(person, male if other in men else female, other) for other in others]
    return found
