"""What config.json and metrics.json of a run must hold. Standard library only.

Every check raises ValueError with what was expected and what was found; `zoo.runs.folder` names the file.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.config import task_facts
from zoo.config.train_config import TrainConfig
from zoo.console.errors import nearest

_KINDS = ("image", "vector", "sequence", "sound", "table", "tokens", "pairs", "triples") + (
    "series",
    "events",
    "arrays",
)
_HASH = 64  # hexadecimal digits of a SHA-256
# Shares of the test examples, whose number times the examples is whole for runs with one answer to each example.
_SHARES = ("accuracy", "top_5_accuracy", "exact_match")
# Scores that are means over examples: the middle of their resamples contains them.
_MEANS = (*_SHARES, "zero_shot_accuracy", "loss", "mrr")
# Relative size of what rounding in float32 may change.
_ROUNDING = 1e-6
# Other scores between 0 and 1.
_BOUNDED = (
    *(*_SHARES, "precision", "recall", "f1", "zero_shot_accuracy", "coverage", "mrr"),
    *("auc", "partial_auc", "detected", "false_alarms", "recording_accuracy"),
    *("miou", "pixel_accuracy", "boundary_f1"),
)


def check_config(stored: Mapping[str, Any]) -> None:
    """Check config.json.

    Args:
        stored: Content of the file.
    """
    _typed(stored, "config", dict)
    _typed(stored, "data", dict)
    command = _typed(stored, "command", list)
    if not all(isinstance(word, str) for word in command):
        raise ValueError(f"expected texts as 'command', found {_short(command)}")
    for name in ("begun_with", "adapted", "processor", "kernels"):
        if stored.get(name) is not None:
            _typed(stored, name, dict)
    if stored.get("own_model") is not None:
        _typed(stored, "own_model", str)
    _typed(stored, "versions", dict)
    if stored.get("processor"):
        _typed(stored["processor"], "name", str)
        _typed(stored["processor"], "cores", int)
    _check_options(stored["config"])
    _check_data(stored["data"])


def _check_options(values: Mapping[str, Any]) -> None:
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    for name in values:
        if name not in fields:
            raise ValueError(f"there is no option {name!r}{nearest(name, fields)}")
    for name in ("model", "settings"):
        if name not in values:
            raise ValueError(f"expected {name!r} in 'config', found none")


def _check_data(spec: Mapping[str, Any]) -> None:
    _typed(spec, "name", str)
    if spec.get("kind") not in _KINDS:
        raise ValueError(f"expected one of {', '.join(_KINDS)} as 'kind' of 'data', found {_short(spec.get('kind'))}")
    if (task := spec.get("task", task_facts.CLASSES)) not in task_facts.TASKS:
        raise ValueError(f"expected a task as 'task' of 'data', found {_short(task)}")
    for name, kind, required in (
        ("input_shape", int, True),
        ("class_names", str, True),
        ("target_shape", int, False),
        ("relations", str, False),
        ("columns", str, False),
        ("normal", str, False),
        ("targets", str, False),
    ):
        found = spec.get(name, None if required else [])
        if not isinstance(found, list) or not all(isinstance(v, kind) and not isinstance(v, bool) for v in found):
            what = "whole numbers" if kind is int else "texts"
            raise ValueError(f"expected a list of {what} as {name!r} of 'data', found {_short(found)}")
        if kind is int and any(size < 1 for size in found):
            raise ValueError(f"expected sizes from 1 as {name!r} of 'data', found {_short(found)}")
    for name in ("means", "deviations", "quantiles"):
        found = spec.get(name, [])
        if not isinstance(found, list) or not all(map(_finite, found)):
            raise ValueError(f"expected a list of numbers as {name!r} of 'data', found {_short(found)}")
    _check_inputs(spec.get("inputs", []))
    for name in ("vocabulary_size", "target_vocabulary_size"):
        if name in spec and _typed(spec, name, int) < 0:
            raise ValueError(f"expected a number from 0 as {name!r} of 'data', found {spec[name]}")
    _check_windows(spec)
    for name in ("vocabulary_sha256", "target_vocabulary_sha256"):
        if name in spec:
            _typed(spec, name, str)
    if "per_step" in spec:
        _typed(spec, "per_step", bool)
    if (fit := spec.get("fit", task_facts.FIRST_FIT)) not in typing.get_args(task_facts.Fit):
        raise ValueError(
            f"expected {', '.join(typing.get_args(task_facts.Fit))} as 'fit' of 'data', found {_short(fit)}"
        )


def _check_inputs(inputs: Any) -> None:
    """Check what the inputs of a table are; see `zoo.data.tabular.encoding`."""
    whole = isinstance(inputs, list) and all(isinstance(each, dict) for each in inputs)
    for each in inputs if whole else ():
        name, form = each.get("name"), each.get("form")
        numbers = isinstance(each.get("edges"), list) and all(map(_finite, each["edges"]))
        texts = isinstance(each.get("values"), list) and all(isinstance(value, str) for value in each["values"])
        right = {
            "number": numbers and isinstance(each.get("missing"), bool),
            "date": numbers and all(isinstance(each.get(key), bool) for key in ("missing", "time")),
            "word": isinstance(each.get("value"), str),
            "category": texts,
        }
        whole = whole and isinstance(name, str) and isinstance(form, str) and right.get(form, False)
    if not whole:
        raise ValueError(f"expected a list of columns as 'inputs' of 'data', found {_short(inputs)}")


def _check_windows(spec: Mapping[str, Any]) -> None:
    """Check what windows of series, standardised features and the detection of anomalies have."""
    for name in ("hop", "rate", "false_alarm_rate"):
        if name in spec and not (_number(spec[name]) and 0 <= spec[name] < math.inf):
            raise ValueError(f"expected a finite number from 0 as {name!r} of 'data', found {_short(spec[name])}")
    for name in ("mean", "std"):
        found = spec.get(name, [])
        if not isinstance(found, list) or not all(map(_finite, found)):
            raise ValueError(f"expected a list of finite numbers as {name!r} of 'data', found {_short(found)}")
    if 0 in spec.get("std", []):
        raise ValueError("expected numbers other than 0 as 'std' of 'data'")
    if strange := [name for name in spec.get("normal", []) if name not in spec["class_names"]]:
        raise ValueError(f"expected classes as 'normal' of 'data', found {_short(strange[0])}")


def check_metrics(
    metrics: Mapping[str, Any],
    per_step: bool = False,
    of_classes: Sequence[str] = task_facts.of(task_facts.CLASSES).of_classes,
) -> None:
    """Check metrics.json: that it is complete, that numbers are numbers, and that they do not contradict each other.

    Args:
        metrics: Content of the file.
        per_step: Whether there may be several answers per example, such as one per time step.
        of_classes: Names of the scores of each class.
    """
    test = _typed(metrics, "test", dict)
    for name in ("parameters", "epoch", "epochs"):
        if _typed(metrics, name, int) < 0:
            raise ValueError(f"expected a number from 0 as {name!r}, found {metrics[name]}")
    if not 0 <= _typed(metrics, "seconds", float) < math.inf:
        raise ValueError(f"expected a finite number from 0 as 'seconds', found {metrics['seconds']}")
    _check_hash("model_sha256", metrics.get("model_sha256"))
    for number, value in enumerate(_list(metrics, "snapshots")):
        _check_hash(f"snapshots[{number}]", value)
    for name, count in _object(metrics, "split_examples").items():
        if not _whole(count):
            raise ValueError(f"expected a number of examples as {name!r} of 'split_examples', found {_short(count)}")
    _check_reading(_object(metrics, "data"))
    for name in ("validation", "train"):
        for key, value in _object(metrics, name).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"expected a number as {key!r} of {name!r}, found {_short(value)}")
    check_scores(test, _object(metrics, "intervals"), per_step)
    _check_classes(_list(metrics, "per_class"), of_classes)
    for name in ("private", "calibration", "prequential"):
        _object(metrics, name)
    if "no_intervals" in metrics:
        _typed(metrics, "no_intervals", str)
    for part in ("test", "test_before"):
        calibration = metrics.get("calibration", {})
        if calibration and (part == "test" or calibration.get(part)):
            for name in ("ece", "nll", "brier"):
                _typed(_typed(calibration, part, dict), name, float)
    if metrics.get("calibration"):
        _typed(metrics["calibration"], "temperature", float)
    if metrics.get("private"):
        for name in ("epsilon", "delta", "noise", "clip", "sampling_rate"):
            _typed(metrics["private"], name, float)


def _check_reading(reading: Mapping[str, Any]) -> None:
    """Check the record of what was read; runs of earlier versions have none."""
    for group in ("examples", "classes", "left_out", "changed", "sizes"):
        for name, count in _object(reading, group).items():
            if not _whole(count):
                raise ValueError(f"expected a number as {name!r} of {group!r} of 'data', found {_short(count)}")
    used = sum(_object(reading, "examples").values())
    if reading and reading.get("used") != used:
        raise ValueError(f"expected {used} as 'used' of 'data', the sum of its examples, found {reading.get('used')}")


def check_scores(test: Mapping[str, Any], intervals: Mapping[str, Any], per_step: bool = False) -> None:
    """Check the scores of a split and their 95 % intervals.

    Args:
        test: Scores by name; further entries may be texts and objects.
        intervals: Lowest and highest value of scores, by name.
        per_step: Whether there may be several answers per example, such as one per time step.
    """
    examples = _typed(test, "examples", int)
    if examples < 1:
        raise ValueError(f"expected a number of test examples from 1, found {examples}")
    single = not per_step and "tokens" not in test  # otherwise a share is one of steps or tokens
    for name, value in test.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, str, dict, list, type(None))):
            raise ValueError(f"expected a number as {name!r} of 'test', found {_short(value)}")
    for name in _BOUNDED:
        value = test.get(name)
        if value is None:
            continue
        if not _number(value) or not 0 <= value <= 1:
            raise ValueError(f"expected a share from 0 to 1 as {name!r} of 'test', found {_short(value)}")
        if single and name in _SHARES and abs(value * examples - round(value * examples)) > _ROUNDING * examples:
            raise ValueError(f"expected a multiple of 1/{examples} as {name!r} of 'test', found {value}")
    for name, ends in intervals.items():
        if not (isinstance(ends, list) and len(ends) == 2 and all(map(_number, ends)) and ends[0] <= ends[1]):
            raise ValueError(f"expected the two ends of {name!r} in 'intervals', found {_short(ends)}")
        if not _number(value := test.get(name)):
            raise ValueError(f"expected a number as {name!r} of 'test', which has an interval, found {_short(value)}")
        slack = _ROUNDING * max(1.0, abs(value))
        if name in _MEANS and not ends[0] - slack <= value <= ends[1] + slack:
            raise ValueError(f"{name!r} is {value}, outside its own interval from {ends[0]} to {ends[1]}")


def _check_classes(rows: list, of_classes: Sequence[str]) -> None:
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"expected objects in 'per_class', found {_short(row)}")
        _typed(row, "class", str)
        if _typed(row, "examples", int) < 0:
            raise ValueError(f"expected a number from 0 as 'examples' of a class, found {row['examples']}")
        for name in of_classes:
            if not 0 <= _typed(row, name, float) <= 1:
                where = f"{name!r} of class {row['class']!r}"
                raise ValueError(f"expected a share from 0 to 1 as {where}, found {row[name]}")


def _check_hash(name: str, value: Any) -> None:
    if not (isinstance(value, str) and len(value) == _HASH and set(value) <= set("0123456789abcdef")):
        raise ValueError(f"expected a SHA-256 as {name!r}, found {_short(value)}")


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _typed(values, name, dict) if name in values else {}


def _list(values: Mapping[str, Any], name: str) -> list:
    return _typed(values, name, list) if name in values else []


def _typed(values: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return a value of an object after checking its type; a float may be a whole number."""
    if name not in values:
        raise ValueError(f"expected {_WORDS[kind]} as {name!r}, found none")
    value = values[name]
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not (fits or (kind is float and _number(value))):
        raise ValueError(f"expected {_WORDS[kind]} as {name!r}, found {_short(value)}")
    return value


_WORDS = {
    int: "a whole number",
    str: "a text",
    dict: "an object",
    list: "a list",
    float: "a number",
    bool: "true or false",
}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _finite(value: Any) -> bool:
    return _number(value) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
