"""Combination of trained classifiers by averaging probabilities, by stacking, or by averaging weights."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from zoo import tasks
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.ensemble import calibration
from zoo.ensemble.members import Member
from zoo.introspection.variables import named, set_weights
from zoo.models.ensemble import FAINTEST, SMALLEST, Ensemble
from zoo.reports import page as report
from zoo.runs.folder import RunFolder
from zoo.runs.inference import logits_of, probabilities
from zoo.scores.classes import scores
from zoo.system.files import replacing
from zoo.training.finishing import finish

Method = Literal["soft", "weighted", "stacking", "soup", "greedy_soup"]
# Methods that are fitted on the validation split.
FITTED = ("weighted", "stacking", "greedy_soup")
# Fitted weights below this are set to 0, because such a member adds size to the file but no accuracy.
LEAST_WEIGHT = 1e-3
# Inverse strength of the stacking head's L2 penalty. It is strong, because validation examples are few.
HEAD_C = 0.01


@dataclass(frozen=True)
class Answers:
    """Outputs of the members on the held-out splits.

    Args:
        validation: Logits on the validation split, (members, examples, classes) or (members, examples, time, classes).
        y: Class indices of the validation split, (examples,) or (examples, time).
        test: Logits on the test split, shaped like `validation`.
    """

    validation: np.ndarray
    y: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Combined:
    """Result of combining members.

    Args:
        model: Built Keras model that returns logits.
        shares: Weight of each member in the average, 0 if it is left out. Empty for stacking.
    """

    model: keras.Model
    shares: list[float]


def make(
    members: Sequence[Member],
    method: Method,
    run: RunFolder,
    config: TrainConfig,
    data: Dataset,
    *,
    weights: Sequence[float] | None = None,
    calibrate: bool = False,
    command: list[str],
) -> dict[str, Any]:
    """Combine members, write the run folder of the result, and return its metrics.

    Args:
        members: Classifiers accepted by `zoo.ensemble.members`.
        method: Method that combines them.
        run: Run folder to write.
        config: Configuration of the new run.
        data: Dataset of the members. Weights, stacking head, soup members and temperature are fitted on its validation
            split.
        weights: Weights of the members' probabilities. By default they are equal, or fitted by the method "weighted".
        calibrate: Whether to divide the logits by a fitted temperature.
        command: Command line recorded in config.json.

    Raises:
        UsageError: If validation examples are needed and missing or too few, or weights to average differ in shape.
    """
    began = time.perf_counter()
    if (calibrate or (method in FITTED and weights is None)) and not len(data.validation):
        what = "--calibrate" if calibrate else f"--method {method}"
        raise UsageError(f"{what}: expected validation examples to fit to, {data.spec.name} has none here")
    models = [opened(member, i + 1) for i, member in enumerate(members)]
    answers = Answers(
        np.stack([_logits(model, data, "validation") for model in models]),
        data.validation.y,
        np.stack([_logits(model, data, "test") for model in models]),
    )
    made = combined(method, models, answers, data, weights)
    model, parts = made.model, {"uncalibrated": _logits(made.model, data, "test")}
    if calibrate:
        temperature = calibration.fitted_temperature(_logits(model, data, "validation"), answers.y)
        model = with_temperature(model, temperature)
        parts = {"uncalibrated": parts["uncalibrated"], f"temperature {temperature:.3f}": _logits(model, data, "test")}
    rows = _rows(members, made.shares, answers, data)
    *before, after = (calibration.measured(logits, data.test.y) for logits in parts.values())
    found = {
        "validation": _short_scores(_logits(model, data, "validation"), answers.y),
        "method": method,
        "members": rows,
        "calibration": {"temperature": getattr(model, "temperature", 1.0), "test": after}
        | ({"test_before": before[0]} if before else {}),
        "epoch": 0,
        "epochs": 0,
        "seconds": round(time.perf_counter() - began, 2),
        "examples_per_second": None,
    }
    begun_with = {"method": method, "runs": [{"run": row["run"], "model_sha256": row["model_sha256"]} for row in rows]}
    data.save_vocabularies(run.vocabulary_file, run.target_vocabulary_file)
    run.write_config(config, data.spec.to_json(), command, begun_with)
    if members[0].run.examples_file.is_file():  # by which the new run knows the splits, too
        shutil.copyfile(members[0].run.examples_file, run.examples_file)
    drawn = calibration.diagram(parts, data.test.y)
    with replacing(run.reliability_file) as temporary:
        drawn.savefig(temporary, dpi=120)
    title = f"calibrated {members[0].config.model} on {data.spec.name}" if calibrate and len(members) == 1 else ""
    task = tasks.of(data.spec.task)
    return finish(run, config, data, task, model, found, sections=_sections(rows, drawn), title=title)


def opened(member: Member, number: int) -> keras.Model:
    """Load a member's model under a numbered name, so that tensors of an exported file are unique."""
    return _copied(member.run.load_model(member.snapshot), name=f"member_{number}")


def _copied(model: keras.Model, **changes: Any) -> keras.Model:
    """Return a copy of a built model with the same weights and changes to its configuration."""
    form = keras.saving.serialize_keras_object(model)
    form["config"] |= changes
    copy = keras.saving.deserialize_keras_object(form)
    set_weights(copy, model.get_weights())
    return copy


def _logits(model: keras.Model, data: Dataset, split: str) -> np.ndarray:
    """Return a model's logits for a split, which may be empty."""
    found = getattr(data, split)
    return logits_of(model, found) if len(found) else np.zeros((0, data.spec.num_classes), np.float32)


def combined(
    method: Method,
    models: Sequence[keras.Model],
    answers: Answers,
    data: Dataset,
    weights: Sequence[float] | None = None,
) -> Combined:
    """Combine models into one.

    Args:
        method: Method that combines them.
        models: Built models of the members.
        answers: Outputs of the models on the held-out splits.
        data: Dataset of the members.
        weights: Weights of the members' probabilities, see `make`.

    Raises:
        UsageError: If validation examples lack a class, or weights to average differ in shape.
    """
    if method in ("soup", "greedy_soup"):
        check_same_weights(models)
        chosen = greedy(models, answers, data) if method == "greedy_soup" else list(range(len(models)))
        shares = [1 / len(chosen) if i in chosen else 0.0 for i in range(len(models))]
        return Combined(averaged([models[i] for i in chosen]), shares)
    if method == "stacking":
        return Combined(stacked(models, answers), [])
    if method == "weighted" and weights is None:
        weights = fitted_weights(answers.validation, answers.y)
    shares = [1 / len(models)] * len(models) if weights is None else [w / sum(weights) for w in weights]
    used = [i for i, share in enumerate(shares) if share > 0]
    model = Ensemble([models[i] for i in used], tuple(shares[i] for i in used) if weights is not None else None)
    return Combined(_built(model), shares)


def _built(model: Ensemble) -> Ensemble:
    model.build(model.members[0].get_build_config().get("input_shape"))
    return model


def with_temperature(model: keras.Model, temperature: float) -> Ensemble:
    """Return a model whose logits are those of another divided by a temperature.

    Args:
        model: Built model. The members and head of an ensemble without a temperature are reused instead of nested.
        temperature: Temperature above 0.
    """
    if not isinstance(model, Ensemble) or model.temperature != 1:
        return _built(Ensemble([model], temperature=temperature))
    new = _built(Ensemble(model.members, model.weighing, model.head_units, temperature))
    if model.head is not None:
        new.head.set_weights(model.head.get_weights())
    return new


def fitted_weights(logits: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the weights of the members' probabilities that maximise the likelihood of held-out labels.

    The weights are non-negative and sum to 1, which makes the problem convex.

    Args:
        logits: Logits of the members, (members, examples, classes) or (members, examples, time, classes).
        y: Class indices, (examples,) or (examples, time).
    """
    from scipy.optimize import minimize

    count, classes = len(logits), logits.shape[-1]
    p = probabilities(logits.reshape(count, -1, classes))
    right = np.maximum(p[:, np.arange(y.size), y.reshape(-1)], SMALLEST)  # (members, examples)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mean = weights @ right
        return -np.log(mean).mean(), -(right / mean).mean(-1)

    found = minimize(
        loss,
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-10},
    )
    kept = np.where(found.x < LEAST_WEIGHT, 0, found.x)
    return (kept / kept.sum()).tolist()


def stacked(models: Sequence[keras.Model], answers: Answers) -> Ensemble:
    """Return an ensemble with a head fitted on the validation split by multinomial logistic regression.

    Args:
        models: Built models of the members.
        answers: Outputs of the models on the held-out splits.

    Raises:
        UsageError: If a class has no validation example.
    """
    from sklearn.linear_model import LogisticRegression

    classes = answers.validation.shape[-1]
    y = answers.y.reshape(-1)
    if missing := sorted(set(range(classes)) - set(y.tolist())):
        raise UsageError(
            f"--method stacking: expected validation examples of every class, found none for {len(missing)} of"
            f" {classes} classes (the first is {missing[0]})"
        )
    logs = np.log(np.maximum(probabilities(answers.validation), np.finfo(np.float64).tiny))
    given = np.concatenate([np.maximum(each, FAINTEST).reshape(-1, classes) for each in logs], axis=-1)
    fitted = LogisticRegression(C=HEAD_C, max_iter=1000).fit(given, y)
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if classes == 2:  # scikit-learn fits a single row for two classes
        kernel, bias = np.concatenate([-kernel, kernel], -1) / 2, np.concatenate([-bias, bias]) / 2
    model = _built(Ensemble(list(models), head_units=classes))
    model.head.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return model


def check_same_weights(models: Sequence[keras.Model]) -> None:
    """Raise a `UsageError` unless the weights of all models have the same paths and shapes."""
    first, *others = ({name: tuple(v.shape) for name, v in named(model).items()} for model in models)
    for number, other in enumerate(others, 2):
        if other != first:
            name = next(iter(first.items() ^ other.items()))[0]
            raise UsageError(
                f"RUN {number}: expected weights of the same shapes as the first run to average them, {name} has shape"
                f" {other.get(name)} instead of {first.get(name)}"
            )


def averaged(models: Sequence[keras.Model]) -> keras.Model:
    """Return a uniform soup: a model whose weights are the mean of those of several models of one architecture.

    Soups work well if all models were fine-tuned from the same weights (Wortsman et al., 2022), for example with the
    same `--init-from`.
    """
    soup = _copied(models[0])
    weights = zip(*(m.get_weights() for m in models), strict=True)
    set_weights(soup, [np.mean(each, axis=0, dtype=np.float64) for each in weights])
    return soup


def greedy(models: Sequence[keras.Model], answers: Answers, data: Dataset) -> list[int]:
    """Return the indices of the models in a greedy soup.

    Models are tried in order of validation accuracy, and kept if they do not lower that of the soup.
    """
    accuracy = [_accuracy(logits, answers.y) for logits in answers.validation]
    chosen: list[int] = []
    best = 0.0
    for i in sorted(range(len(models)), key=lambda i: -accuracy[i]):
        soup = averaged([models[j] for j in [*chosen, i]])
        reached = _accuracy(_logits(soup, data, "validation"), answers.y)
        if reached >= best:
            chosen, best = [*chosen, i], reached
    return chosen


def _accuracy(logits: np.ndarray, y: np.ndarray) -> float:
    return float((logits.argmax(-1) == y).mean())


def _short_scores(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the scores of a validation split for metrics.json, empty for an empty split."""
    if not len(y):
        return {}
    found = scores(logits, y)
    return {"accuracy": found["accuracy"], "loss": found["loss"]}


def _rows(members: Sequence[Member], shares: Sequence[float], answers: Answers, data: Dataset) -> list[dict[str, Any]]:
    """Return one row for each member, for metrics.json."""
    rows = []
    for i, member in enumerate(members):
        config = member.config
        rows.append(
            {
                "run": member.name,
                "model": config.model,
                "seed": config.seed,
                "model_sha256": member.model_sha256,
                "share": shares[i] if shares else None,
                "validation_accuracy": _accuracy(answers.validation[i], answers.y) if len(answers.y) else None,
                "test_accuracy": _accuracy(answers.test[i], data.test.y),
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the column names and one row of texts for each member."""
    columns = ["run", "model", "seed", "share", "validation accuracy", "test accuracy"]
    texts = []
    for row in rows:
        numbers = (row["share"], row["validation_accuracy"], row["test_accuracy"])
        texts.append([row["run"], row["model"], str(row["seed"]), *("" if n is None else f"{n:.4f}" for n in numbers)])
    return columns, texts


def _sections(rows: Sequence[dict[str, Any]], drawn: Any) -> list[str]:
    """Return the report's table of members and its reliability diagram."""
    columns, texts = table(rows)
    heads = "".join(f"<th>{report.text(name)}" for name in columns)
    lines = "".join("<tr>" + "".join(f"<td>{report.text(cell)}</td>" for cell in line) + "</tr>" for line in texts)
    about = "confidence against accuracy of the ensemble and its members"
    return [
        f"<section><h2>Members</h2><table><tr>{heads}</tr>{lines}</table></section>",
        f"<section><h2>Calibration on the test split</h2>{report.svg(drawn, about)}</section>",
    ]
