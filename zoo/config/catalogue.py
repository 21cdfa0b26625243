"""Data sets by name or path: embedded sets, TFDS sets and own data.

Standard library only, so that a misspelt name is answered at once.
"""

import importlib.util
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from zoo.config import caption_templates, registry, task_facts
from zoo.config.masks import is_folder_of_masks
from zoo.config.prepared import default_data_dir, find_prepared, prepared_names
from zoo.config.records import ENDINGS, check_unpacked, holds_records, is_address
from zoo.config.task_facts import ARRAYS, CLASSES, TABLES, TASKS, TEXT, Task, TaskFacts, Tokens
from zoo.config.train_config import EMBEDDED, TrainConfig, flag
from zoo.console.documents import from_json
from zoo.console.errors import UsageError, nearest

_EMBEDDED_TASKS: dict[str, Task] = {
    "digits": "classification",
    "addition": "translation",
    "family": "link_prediction",
    "shapes": "segmentation",
}

# Names of the columns in sets of triples.
TRIPLES = (("head", "relation", "tail"), ("lhs", "relation", "rhs"))


def data_dir(config: TrainConfig) -> Path:
    """Return the folder of the TFDS sets that a configuration uses."""
    return config.data_dir or default_data_dir()


def check_source(config: TrainConfig) -> None:
    """Check that the data exist and fit the task, without reading them.

    Raises:
        UsageError: A set or a path that does not exist, or data for another task.
    """
    paths = {name: path for name in ("data", "validation_data") if (path := getattr(config, name)) is not None}
    for name, path in paths.items():
        if not is_address(path) and not (path.is_file() or path.is_dir()):  # a named pipe would be waited for for ever
            found = "a pipe or a device" if path.exists() else "none"
            raise UsageError(f"{flag(name)} {path}: expected a file or a folder, found {found}")
    task = task_of(config)
    facts = task_facts.of(task)
    by_rows = takes_rows(config)
    if by_rows and config.data is None:
        raise UsageError(f"--model {config.model}: expected --data, a table, received none")
    for name, path in paths.items():
        check_unpacked(str(path))
        if config.window is not None:
            _check_recordings(flag(name), path)
        elif not (_has_form(path, facts) or (by_rows and _holds_rows(path))):
            raise UsageError(f"{flag(name)} {path}: expected {facts.own_data}")
    if config.dataset_is_tfds:
        _check_tfds(config.dataset, data_dir(config))
    elif config.data is None and task not in (own := _EMBEDDED_TASKS[config.dataset or "digits"], *_also(own)):
        raise UsageError(f"--dataset {config.data_name}: expected a set for {task}, this one is for {own}")
    _check_options(config, task, facts)
    if facts.check_data and config.data is not None and not is_address(config.data):
        task_facts.resolved(facts.check_data)(config)


def takes_rows(config: TrainConfig) -> bool:
    """Return whether the examples of a model are rows of a table, and not texts or files that it names.

    A combination of runs takes what they take, which their columns tell.
    """
    if config.model in registry.COMBINED:
        return config.window is None and bool(config.target_column or config.columns)
    return "table" in registry.entry(config.model).inputs


def check_validation(config: TrainConfig, splits: Collection[str], column: str = "") -> None:
    """Raise UsageError for `--validation-data` beside data that have a validation split themselves.

    Args:
        config: Names both.
        splits: Splits of the data.
        column: Column that names the split of each row; empty without one.
    """
    if config.validation_data is not None and "validation" in splits:
        raise UsageError(
            f"--validation-data {config.validation_data}: expected data without a validation split, received"
            f" {config.data_name}, which has one{f' in column {column!r}' if column else ''}; leave one of the two out"
        )


def _check_recordings(option: str, path: Path) -> None:
    """Raise UsageError unless a path may hold recordings, from which windows are cut."""
    endings = (ARRAYS, *TABLES, ".parquet")
    plain = path.name.lower().removesuffix(".gz")
    if not path.is_dir() and not plain.endswith(endings):
        raise UsageError(
            f"{option} {path}: expected with --window a file of samples in time that ends in {', '.join(endings)}, or a"
            " folder of them"
        )


def _check_options(config: TrainConfig, task: str, facts: TaskFacts) -> None:
    """Raise UsageError for options that do not apply to these data."""
    caption_templates.templates(config.caption_templates)
    if config.schema is not None and not (config.data and holds_records(config.data)):
        raise UsageError(f"--schema: expected with files that end in {ENDINGS}, received {config.data_name}")
    if config.caption_templates is not None and (not facts.has_captions or is_table(config.data)):
        what = "classes, from whose names captions are made" if facts.has_captions else "--task contrastive"
        raise UsageError(f"--caption-templates: expected {what}, received {config.data_name} for {task}")
    if config.validation_data is not None and facts.validation_is:
        raise UsageError(
            f"--validation-data {config.validation_data}: expected none for {task}, whose validation examples are"
            f" {facts.validation_is}"
        )
    if config.group is not None and (config.data is None or not config.data.is_dir() or holds_records(config.data)):
        raise UsageError(f"--group {config.group}: expected a folder of files by class, received {config.data_name}")
    if facts.compares_pairs and config.batch_size == 1:
        raise UsageError(f"--batch-size 1: expected 2 or more for {task}, which compares the pairs of a batch")
    for name in sorted({option for row in TASKS.values() for option in row.options} - set(facts.options)):
        if getattr(config, name) is not None:
            raise UsageError(
                f"{flag(name)}: expected with --task {' or '.join(task_facts.following(name))}, received for {task} of"
                f" {config.data_name}"
            )
    if config.test_split_name is not None and not config.dataset_is_tfds:
        raise UsageError(f"--test-split-name {config.test_split_name}: expected with a TFDS set, received without one")
    if config.dataset_is_tfds and not find_prepared(config.dataset, data_dir(config)):
        return  # the task is known once the set is downloaded
    given = {flag(name): value for name in ("source", "target") if (value := getattr(config, name)) is not None}
    if given and not facts.has_sides:
        name, value = next(iter(given.items()))
        raise UsageError(f"{name} {value}: expected with --task translation, received for {task} of {config.data_name}")
    fixed = config.data is None and not config.dataset_is_tfds
    if fixed and given:
        raise UsageError(f"{', '.join(given)}: expected none for {config.data_name}, which has one direction")


def task_of(config: TrainConfig) -> Task:
    """Return the task that is learnt from the data of a configuration.

    It is the option `task` if given, otherwise the task that the data are for. Some models learn another task from
    classes. A TFDS set counts as classes until it is prepared.
    """
    if config.task is not None:
        return config.task
    own = _own_task(config)
    return config.learns if config.learns in _also(own) else own


def _also(task: Task) -> tuple[Task, ...]:
    """Return the other tasks that can be learnt from the data of a task."""
    if not task_facts.of(task).classifies:
        return ()
    return tuple(name for name, facts in TASKS.items() if facts.from_classes)


def _own_task(config: TrainConfig) -> Task:
    """Return the task that the data are for."""
    if config.data is not None:
        if _is_plain_text(config.data):
            return next(name for name, facts in TASKS.items() if TEXT in facts.own_files)
        if is_folder_of_masks(config.data):
            return next(name for name, facts in TASKS.items() if facts.own_folder == "masks")
        return config.learns if task_facts.of(config.learns).from_own else CLASSES
    if not config.dataset_is_tfds:
        return _EMBEDDED_TASKS[config.dataset or "digits"]
    folder = find_prepared(config.dataset, data_dir(config))
    return _tfds_task(folder) if folder else CLASSES


def tokens_of(config: TrainConfig) -> Tokens:
    """Return the tokens that texts are cut into: the option, or the usual ones of the set or the task."""
    if config.tokens is not None:
        return config.tokens
    if config.data is None and config.dataset == "addition":
        return "character"
    return task_facts.of(task_of(config)).usual_tokens


def is_table(path: Path | None) -> bool:
    """Whether a path names a table."""
    return path is not None and path.suffix.lower() in TABLES


def _is_plain_text(path: Path) -> bool:
    """Whether a path names a text file, or a folder of text files without subfolders."""
    if is_address(path):
        return False
    if path.is_dir():
        inside = [p for p in path.iterdir() if not p.name.startswith(".")]
        return any(p.suffix.lower() == TEXT for p in inside) and not any(p.is_dir() for p in inside)
    return path.suffix.lower() == TEXT


def _has_form(path: Path, facts: TaskFacts) -> bool:
    """Whether own data look like data for a task, by their name alone."""
    if holds_records(path):
        return facts.classifies or facts.from_classes
    if not path.is_dir():
        return path.suffix.lower() in facts.own_files
    if facts.own_folder == "tables":
        return any(map(is_table, path.iterdir()))
    if facts.own_folder == "texts":
        return _is_plain_text(path)
    if facts.own_folder == "masks":
        return is_folder_of_masks(path)
    return facts.own_folder in ("classes", "objects")


def _holds_rows(path: Path) -> bool:
    """Return whether a path names a table of typed columns, or a folder of them."""
    if not path.is_dir():
        return bool(task_facts.ending_of_table(path))
    return any(map(task_facts.ending_of_table, path.iterdir()))


def _tfds_task(folder: Path) -> Task:
    """Return the task that a prepared set is for, by its features.

    Raises:
        UsageError: The set's description is damaged.
    """
    try:
        return _described_task(*(_described(folder / name) for name in ("features.json", "dataset_info.json")))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"{folder}: features.json or dataset_info.json is damaged ({error}): prepare the set again with TFDS"
        ) from None


def _described(path: Path) -> Any:
    try:
        return from_json(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None


def _described_task(described: Any, info: Any) -> Task:
    if "translation" in described:
        return "translation"
    features = described.get("featuresDict", {}).get("features", {})
    kinds = {name: feature["pythonClassName"].rpartition(".")[2] for name, feature in features.items()}
    if any(set(names) == set(kinds) for names in TRIPLES):
        return "link_prediction"
    if "ClassLabel" in kinds.values():
        return "classification"
    items = info.get("supervisedKeys", {}).get("tuple", {}).get("items", [])
    if [kinds.get(item.get("featureKey")) for item in items] == ["Text", "Text"] and items[0] != items[1]:
        return "translation"
    return "language_model" if list(kinds.values()) == ["Text"] else "classification"


def tfds_names() -> list[str]:
    """Return the names of all TFDS sets, read from its source files because its import takes a second."""
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
    """Whether a class is a TFDS builder or derives from one, as FashionMNIST does from MNIST."""
    base = bases[name].rpartition(".")[2]
    # A class may be named like its own base: class BuilderConfig(tfds.core.BuilderConfig).
    return base.endswith("Builder") or (base in bases and base != name and _is_builder(base, bases))


def _check_tfds(name: str, data_dir: Path) -> None:
    """Raise UsageError for a set that is neither prepared in `data_dir` nor known to TFDS."""
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
    """Return the name of a builder from its class name, as TFDS does."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
