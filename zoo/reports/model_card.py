"""MODEL_CARD.md of a run: its measured results, and what was not measured. Standard library only."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from zoo.config import catalogue, privacy, task_facts
from zoo.config.task_facts import TaskFacts
from zoo.config.train_config import EMBEDDED, TrainConfig, command_line, flag
from zoo.console.errors import UsageError
from zoo.console.figures import form_of, label, written
from zoo.runs import attacked
from zoo.runs.folder import RunFolder, scored
from zoo.scores import groups

NOT_MEASURED = "Not measured"
_MARK = "\n<!-- zoo.card "


def card(run: RunFolder, read_receipt: Callable[[Path], dict[str, Any]]) -> tuple[str, list[str]]:
    """Return the card of a finished run, and a sentence for everything that was not measured.

    The last line of the card holds a checksum, which tells whether the card was edited.

    Args:
        run: Run folder.
        read_receipt: Function that returns the checked receipt of a .tflite file, or raises UsageError.

    Raises:
        UsageError: This is not a run folder, the run has not finished, or a file of it is damaged.
    """
    stored, metrics = run.read_config(), run.read_metrics()
    config, task, facts = stored["config"], run.task, task_facts.of(run.task)
    parts = {
        "Each class": _classes(metrics, task, facts),
        "Subgroups": _groups(run, stored["data"], facts),
        "Calibration": _calibration(run, metrics, facts),
        "Robustness": _robustness(run, metrics, stored["data"], facts),
        "Privacy": _privacy(metrics),
        "Compressed files": _files(run, metrics, facts, read_receipt),
    }
    missing = [
        f"{title}: {part[:1].lower()}{part[1:]}" for title, part in parts.items() if part.startswith(NOT_MEASURED)
    ]
    missing.append("Other seeds: a run is one training; `python -m zoo.sweep --seeds N` compares several seeds.")
    text = _template().substitute(
        title=f"{run.model_name} on {stored['data']['name']}",
        model=_model(run, stored, metrics, task),
        data=_data(config, stored["data"], metrics),
        training=_training(stored, config, metrics),
        results=_results(metrics, facts),
        classes=parts["Each class"],
        groups=parts["Subgroups"],
        calibration=parts["Calibration"],
        robustness=parts["Robustness"],
        privacy=parts["Privacy"],
        files=parts["Compressed files"],
        limits=_limits(metrics, facts),
        missing="\n".join(f"- {line}" for line in missing),
    )
    return sealed(text), missing


def sealed(content: str) -> str:
    """Return a card with its SHA-256 as a last line."""
    return f"{content}{_MARK}{hashlib.sha256(content.encode()).hexdigest()} -->\n"


def unedited(card: str) -> bool:
    """Whether a card has not changed since `sealed` returned it."""
    return sealed(card.rpartition(_MARK)[0]) == card


def _template() -> Template:
    return Template(resources.files("zoo.reports").joinpath("MODEL_CARD.md").read_text(encoding="utf-8"))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)])


def _model(run: RunFolder, stored: Mapping[str, Any], metrics: Mapping[str, Any], task: str) -> str:
    given = {} if stored.get("own_model") else stored["config"].settings or {}
    settings = ", ".join(f"{name}={value}" for name, value in given.items()) or "none"
    rows = [
        ("model", run.model_name),
        ("task", task.replace("_", " ")),
        ("parameters", f"{metrics['parameters']:,}"),
        ("arguments", settings),
        ("run", run.path.resolve().name),
        ("SHA-256 of model.keras", metrics["model_sha256"]),
        ("authors, licence, contact", "*to be written*"),
    ]
    return _table(["", ""], rows)


def _data(config: TrainConfig, spec: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    counts = metrics.get("split_examples", {})
    classes = spec["class_names"]
    what = f"{len(classes):,} {'entities' if spec.get('relations') else 'classes'}" if classes else "no classes"
    rows = [
        ("data", spec["name"]),
        *_source(config),
        ("inputs", f"{spec['kind']}, of shape {tuple(spec['input_shape'])}"),
        ("classes", what + (f": {', '.join(classes)}" if len(classes) <= 20 else "")),
        *[(f"{name} examples", f"{count:,}") for name, count in counts.items()],
        ("collection, people concerned", "*to be written*"),
    ]
    return _table(["", ""], rows)


def _source(config: TrainConfig) -> list[tuple[str, str]]:
    """Return the source of the data and their licence, as far as known."""
    unknown = ("licence", "unknown; *to be written*")
    if config.data is not None:
        return [("source", f"own data, {config.data}"), unknown]
    if not config.dataset_is_tfds:
        return [("source", EMBEDDED[config.dataset or "digits"]), unknown]
    folder = catalogue.find_prepared(config.dataset, catalogue.data_dir(config))
    if folder is None:
        return [("source", f"TFDS, {config.dataset}"), unknown]
    known = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    licence = known.get("redistributionInfo", {}).get("license")
    where = ", ".join(known.get("location", {}).get("urls", []))
    source = f"TFDS, {config.dataset} {known.get('version', '')}{f', {where}' if where else ''}"
    return [
        ("source", source),
        ("licence", licence) if licence else unknown,
        *([("citation", known["citation"])] if known.get("citation") else []),
    ]


def _training(stored: Mapping[str, Any], config: TrainConfig, metrics: Mapping[str, Any]) -> str:
    command = " ".join(stored["command"]) or "zoo.training.loop.train(config)"
    processor = stored.get("processor")
    machine = f"{processor['name']}, {processor['cores']} cores" if processor else "not recorded"
    begun = stored.get("begun_with")
    rows = [
        ("strategy", config.strategy),
        ("seed", config.seed),
        ("epochs", f"{metrics['epochs']}, weights of epoch {metrics['epoch']}" if metrics["epochs"] else "none"),
        ("seconds", metrics["seconds"]),
        ("processor", machine),
        *([("began with", json.dumps(begun))] if begun else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in stored["versions"].items())),
    ]
    unused = ("model", "settings") if stored.get("own_model") else ()
    given = {name: value for name, value in config.to_json().items() if value is not None and name not in unused}
    options = [(f"`{flag(name)}`", value) for name, value in given.items()]
    folded = f"<details><summary>Every option</summary>\n\n{_table(['option', 'value'], options)}\n\n</details>"
    return f"    {command}\n\n{_table(['', ''], rows)}\n\n{folded}"


def _results(metrics: Mapping[str, Any], facts: TaskFacts) -> str:
    test, within = metrics["test"], metrics.get("intervals", {})
    names = [name for name in facts.figures if isinstance(test.get(name), float)]
    if not names:
        return f"{NOT_MEASURED}: the {test['examples']:,} test examples have no labels."
    rows = [(label(name, test), written(test, name, within)) for name in names]
    found = f"{_table(['test split', ''], rows)}\n\n{test['examples']:,} examples."
    if why := metrics.get("no_intervals"):
        found += f" Without an interval: {why}."
    elif not within:
        found += " No intervals were measured: `python -m zoo.evaluate RUN` measures them."
    return found


def _classes(metrics: Mapping[str, Any], task: str, facts: TaskFacts) -> str:
    classes = facts.classifies or "per_class" in metrics or "zero_shot_accuracy" in metrics["test"]
    if not classes:
        return f"A run that gives {facts.gives} has no classes."
    if not scored(metrics):
        return f"{NOT_MEASURED}: there are no labels."
    if "per_class" not in metrics:
        return f"{NOT_MEASURED} when this run was made; its confusion_matrix.csv holds the counts."
    rows = [
        (row["class"], *(f"{row[name]:.2%}" for name in facts.of_classes), f"{row['examples']:,}")
        for row in metrics["per_class"]
    ]
    return _table(["class", *(form_of(name)[0].removeprefix("macro ") for name in facts.of_classes), "examples"], rows)


def _groups(run: RunFolder, spec: Mapping[str, Any], facts: TaskFacts) -> str:
    if run.groups_file.is_file():
        rows = groups.read_measured(run.groups_file)
        of = f"Accuracy on {rows[0]['data']}, {groups.named(rows[0]['split'])}."
        found = "\n".join(f"- {sentence}" for sentence in groups.sentences(groups.gaps(rows)))
        return f"{of}\n\n{_table(*groups.table(rows))}\n\n{found}"
    if not facts.classifies or spec["per_step"]:
        return f"{NOT_MEASURED}; `zoo.evaluate --groups` accepts runs that give a class for each example."
    return f"{NOT_MEASURED}; run `{command_line('zoo.evaluate', run.path, '--groups', 'FILE.csv')}`"


def _calibration(run: RunFolder, metrics: Mapping[str, Any], facts: TaskFacts) -> str:
    if not facts.classifies:
        return f"{NOT_MEASURED}; `zoo.calibrate` accepts runs that give classes."
    if "calibration" not in metrics:
        return f"{NOT_MEASURED}; run `{command_line('zoo.calibrate', run.path)}`, which writes a calibrated copy."
    found = metrics["calibration"]
    columns = {"before": found.get("test_before"), "test split": found["test"]}
    shown = {name: scores for name, scores in columns.items() if scores}
    titles = {"ece": "expected calibration error", "nll": "negative log-likelihood, nats", "brier": "Brier score"}
    rows = [(title, *(f"{scores[name]:.4f}" for scores in shown.values())) for name, title in titles.items()]
    return f"Temperature {found['temperature']:.3f}.\n\n{_table(['', *shown], rows)}"


def _robustness(run: RunFolder, metrics: Mapping[str, Any], spec: Mapping[str, Any], facts: TaskFacts) -> str:
    parts = []
    for file in sorted(run.attacks.glob("*.json")):
        made = attacked.read(file)
        if made["model_sha256"] != metrics["model_sha256"] or file.with_name(f"{file.stem}-files.json").is_file():
            continue  # results of another model, or already part of the table with the files
        how = f", {_many(made['steps'], 'step')}, {_many(made['restarts'], 'start')}" if "steps" in made else ""
        rows = zip(made["eps"], *made["accuracy"].values(), strict=True)
        cells = [[f"{eps:g}", *(f"{value:.2%}" for value in row)] for eps, *row in rows]
        title = f"{made['attack'].upper()}{how}, {made['examples']:,} test examples. Accuracy at each eps:"
        parts.append(f"{title}\n\n{_table(['eps', *made['accuracy']], cells)}")
    if parts:
        return "\n\n".join(parts)
    if not facts.classifies or spec["kind"] not in ("image", "vector"):
        return f"{NOT_MEASURED}; `zoo.attack` accepts classifiers of images or vectors."
    return f"{NOT_MEASURED}; run `{command_line('zoo.attack', run.path)}`"


def _privacy(metrics: Mapping[str, Any]) -> str:
    if "private" not in metrics:
        return f"{NOT_MEASURED}: training does not limit what the model reveals about single training examples."
    return (
        f"Trained by DP-SGD (Abadi et al., 2016): {privacy.headline(metrics['private'])}. The guarantee covers the"
        " weights and the training examples, not validation and test examples."
    )


def _files(
    run: RunFolder,
    metrics: Mapping[str, Any],
    facts: TaskFacts,
    read_receipt: Callable[[Path], dict[str, Any]],
) -> str:
    rows, left_out = [], []
    for file in sorted((run.path / "artifacts").glob("*.receipt.json")):
        name = f"{file.name.removesuffix('.receipt.json')}.tflite"
        try:
            if not file.with_name(name).is_file():
                raise ValueError("the file is missing")
            receipt = read_receipt(file.with_name(name))
            if receipt["made"]["model_sha256"] != metrics["model_sha256"]:
                raise ValueError("it was made from another model")
            rows.append(_file(name, receipt, facts))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            left_out.append(f"- {name} is left out: {error}")
    if not rows and not left_out:
        command = command_line("compression.compress", run.path, "--recipe", "int8")
        return f"{NOT_MEASURED}: there are no files; run `{command}`"
    columns = [
        "file",
        "recipe",
        "bytes",
        "gzip",
        "times smaller",
        "test, measured on the file",
        "ms per call",
        "on a device",
        "processor",
    ]
    filled = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    found = [_table([columns[i] for i in filled], [[row[i] for i in filled] for row in rows])] if rows else []
    if left_out:
        found.append("\n".join(left_out))
    return "\n\n".join(found)


def _file(name: str, receipt: Mapping[str, Any], facts: TaskFacts) -> list[str]:
    numbers = [f"{receipt['bytes']:,}", f"{receipt['gzip_bytes']:,}", f"{receipt['times_smaller']:.1f}"]
    first = [f"`{name}`", f"`{receipt['made']['recipe']}`", *numbers]
    if "not_run" in receipt:
        return [*first, f"not run: {receipt['not_run']}", "", _on_device(receipt), receipt["processor"]["name"]]
    test = receipt["test"]
    scores = test["litert"] | test["litert"].get("against_real", {})
    intervals, names = test.get("intervals", {}), [name for name in facts.headline if name in scores]
    figures = [f"{label(name, scores)} {written(scores, name, intervals)}" for name in names]
    how = [
        ", ".join([*filter(None, [row.get("signature")]), _many(row["threads"], "thread")])
        for row in receipt["latency"]
    ]
    calls = zip(receipt["latency"], how, strict=True)
    latency = ", ".join(f"{row['median_ms']:.3f} ({said})" for row, said in calls)
    tested = f"{', '.join(figures) or 'no labels, compared with Keras'}; {test['examples']:,} examples"
    return [*first, tested, latency, _on_device(receipt), receipt["processor"]["name"]]


def _on_device(receipt: Mapping[str, Any]) -> str:
    """Return arena and cycles in a cell; empty without the section `device`."""
    found = receipt.get("device", {})
    arena = f"arena {found['arena_bytes']:,} bytes (TFLite Micro)" if "arena_bytes" in found else ""
    cycles = f"{found['cycles']:,} cycles ({found['target']})" if found.get("cycles") else ""
    return ", ".join(filter(None, (arena, cycles)))


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


def _limits(metrics: Mapping[str, Any], facts: TaskFacts) -> str:
    if not scored(metrics):
        return "- No score was measured, as the test examples have no labels."
    found = [f"- Intervals assume that the {metrics['test']['examples']:,} test examples are independent."]
    if "per_class" in metrics:
        name = facts.of_classes[-1]
        worst = min(metrics["per_class"], key=lambda row: row[name])
        words = form_of(name)[0].removeprefix("macro ")
        found.append(f"- The class with the lowest {words} is {worst['class']}: {worst[name]:.2%}.")
    return "\n".join(found)


def check_free(path: Path) -> None:
    """Raise UsageError if a card would replace a file that somebody wrote."""
    if path.is_dir():
        raise UsageError(f"--output {path}: expected a file, received a folder")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: expected a file in an existing folder, found no {path.parent}")
    if path.is_file() and not unedited(path.read_text(encoding="utf-8", errors="replace")):
        raise UsageError(
            f"{path}: expected no file, or an unedited card of zoo.card; this one was edited: name another with"
            " --output"
        )
