"""Which data there are, by name or path: embedded, prepared by TFDS, known to TFDS, one's own.

Standard library only, so that a misspelt name is answered at once.
"""

import importlib.util
import json
import os
import re
from pathlib import Path

from zoo.config import caption_templates, registry
from zoo.config.train_config import EMBEDDED, Task, Tokens, TrainConfig, flag
from zoo.console.errors import UsageError, nearest

# What a file of one's own may end in: arrays, tables of texts with their delimiter (jsonl has none), plain text.
ARRAYS = ".npz"
TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": None}
TEXT = ".txt"

_EMBEDDED_TASKS: dict[str, Task] = {
    "digits": "classification",
    "addition": "translation",
    "family": "link_prediction",
}

# What a model that learns it makes of own tables, which by themselves are of classes.
_BY_MODEL: tuple[Task, ...] = ("link_prediction",)
# How sets of triples name their columns.
TRIPLES = (("head", "relation", "tail"), ("lhs", "relation", "rhs"))

# Tasks that are learnt from images of classes: where no --task is given, the model decides.
OF_IMAGES: tuple[Task, ...] = ("contrastive", "generation")

# What own data must be for each task, as a file and as a folder, and what a file may end in.
_FORMS: dict[Task, tuple[str, tuple[str, ...]]] = {
    "classification": (
        f"a folder of images by class, or a file that ends in {ARRAYS}, {', '.join(TABLES)}"
        f" ({TEXT} for a language model)",
        (ARRAYS, *TABLES),
    ),
    "translation": (f"a table of pairs that ends in {', '.join(TABLES)}", tuple(TABLES)),
    "language_model": (f"a {TEXT} file or a folder of them", (TEXT,)),
    "contrastive": (
        f"a folder of images by class, an {ARRAYS} file of them, or a table of images and captions that ends in"
        f" {', '.join(TABLES)}",
        (ARRAYS, *TABLES),
    ),
    "generation": (f"a folder of images by class, or a file that ends in {ARRAYS}", (ARRAYS,)),
    "link_prediction": (
        f"a table of triples that ends in {', '.join(TABLES)}, or a folder of train, valid and test tables",
        tuple(TABLES),
    ),
}


def data_dir(config: TrainConfig) -> Path:
    """Return the folder that the configuration's TFDS sets are in."""
    return config.data_dir or default_data_dir()


def check_source(config: TrainConfig) -> None:
    """Raise UsageError for a set or a path that does not exist or is not fit for the task, without reading it."""
    paths = {name: path for name in ("data", "validation_data") if (path := getattr(config, name)) is not None}
    for name, path in paths.items():
        if not path.exists():
            raise UsageError(f"{flag(name)} {path}: expected a file or a folder, found none")
    task = task_of(config)
    for name, path in paths.items():
        if not _has_form(path, task):
            raise UsageError(f"{flag(name)} {path}: expected {_FORMS[task][0]}")
    if config.dataset_is_tfds:
        _check_tfds(config.dataset, data_dir(config))
    elif config.data is None and task not in (own := _EMBEDDED_TASKS[config.dataset or "digits"], *_also(own)):
        raise UsageError(f"--dataset {config.data_name}: expected a set for {task}, this one is for {own}")
    _check_options(config, task)


def _check_options(config: TrainConfig, task: Task) -> None:
    """Raise UsageError for options that these data cannot follow."""
    caption_templates.templates(config.caption_templates)
    if config.caption_templates is not None and (task != "contrastive" or is_table(config.data)):
        what = "classes, of which captions are made" if task == "contrastive" else "--task contrastive"
        raise UsageError(f"--caption-templates: expected {what}, received {config.data_name} for {task}")
    if task == "contrastive" and config.batch_size == 1:
        raise UsageError("--batch-size 1: expected 2 or more for contrastive, which compares the pairs of a batch")
    if registry.entry(config.model).task == task == "contrastive" and config.label_smoothing:
        raise UsageError(
            f"--label-smoothing {config.label_smoothing:g}: expected 0 for contrastive, whose targets are pairs"
        )
    if config.test_split_name is not None and not config.dataset_is_tfds:
        raise UsageError(f"--test-split-name {config.test_split_name}: expected with a TFDS set, received without one")
    if config.dataset_is_tfds and not find_prepared(config.dataset, data_dir(config)):
        return  # what it is for is known when it is downloaded
    given = {flag(name): value for name in ("source", "target") if (value := getattr(config, name)) is not None}
    if task != "translation" and given:
        name, value = next(iter(given.items()))
        raise UsageError(f"{name} {value}: expected with --task translation, received for {task} of {config.data_name}")
    fixed = config.data is None and not config.dataset_is_tfds
    if fixed and given:
        raise UsageError(f"{', '.join(given)}: expected none for {config.data_name}, which has one direction")


def task_of(config: TrainConfig) -> Task:
    """Return what is learnt from these data: what the user says, or else what the data are for.

    From classes a model may learn something else. A TFDS set that is not prepared is for classification until it is.
    """
    if config.task is not None:
        return config.task
    own = _own_task(config)
    learns = registry.entry(config.model).task
    return learns if learns in _also(own) else own


def _also(task: Task) -> tuple[Task, ...]:
    """Return what else can be learnt from data that are for a task."""
    return OF_IMAGES if task == "classification" else ()


def _own_task(config: TrainConfig) -> Task:
    """Return what these data are for."""
    if config.data is not None:
        if _is_plain_text(config.data):
            return "language_model"
        learns = registry.entry(config.model).task
        return learns if learns in _BY_MODEL else "classification"
    if not config.dataset_is_tfds:
        return _EMBEDDED_TASKS[config.dataset or "digits"]
    folder = find_prepared(config.dataset, data_dir(config))
    return _tfds_task(folder) if folder else "classification"


def tokens_of(config: TrainConfig, task: Task) -> Tokens:
    """Return what texts are cut into: what the user says, or else what suits the task."""
    if config.tokens is not None:
        return config.tokens
    if config.data is None and config.dataset == "addition":
        return "character"
    usual: dict[Task, Tokens] = {
        "classification": "word",
        "translation": "subword",
        "language_model": "character",
        "contrastive": "word",
        "generation": "word",
        "link_prediction": "word",
    }
    return usual[task]


def is_table(path: Path | None) -> bool:
    """Whether a path is that of a table."""
    return path is not None and path.suffix.lower() in TABLES


def _is_plain_text(path: Path) -> bool:
    """Whether a path is a text file, or a folder of them and of no other folders."""
    if path.is_dir():
        inside = [p for p in path.iterdir() if not p.name.startswith(".")]
        return any(p.suffix.lower() == TEXT for p in inside) and not any(p.is_dir() for p in inside)
    return path.suffix.lower() == TEXT


def _has_form(path: Path, task: Task) -> bool:
    if path.is_dir():
        tables = task == "link_prediction" and any(inside.suffix.lower() in TABLES for inside in path.iterdir())
        texts = task == "language_model" and _is_plain_text(path)
        return task in ("classification", *OF_IMAGES) or tables or texts
    return path.suffix.lower() in _FORMS[task][1]


def _tfds_task(folder: Path) -> Task:
    """Return what a prepared set is for, by its features: a class, a pair of texts, triples, or one text alone."""
    described = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    if "translation" in described:
        return "translation"
    features = described.get("featuresDict", {}).get("features", {})
    kinds = {name: feature["pythonClassName"].rpartition(".")[2] for name, feature in features.items()}
    if any(set(names) == set(kinds) for names in TRIPLES):
        return "link_prediction"
    if "ClassLabel" in kinds.values():
        return "classification"
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    items = info.get("supervisedKeys", {}).get("tuple", {}).get("items", [])
    if [kinds.get(item.get("featureKey")) for item in items] == ["Text", "Text"] and items[0] != items[1]:
        return "translation"
    return "language_model" if list(kinds.values()) == ["Text"] else "classification"


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
