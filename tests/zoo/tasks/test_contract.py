"""The contract of every task: each is trained for a few steps, measured, ranked, reported, used and refused."""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from tests.zoo.data.annotations import pictures
from zoo import generate, predict, tasks
from zoo.config import task_facts
from zoo.config.catalogue import check_source
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, Split
from zoo.explain import __main__ as explain
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_target_vocabulary
from zoo.tasks import generation
from zoo.tasks.base import Task, Texts
from zoo.training.data import load_data
from zoo.training.loop import TrainResult, train

COMMANDS = {"zoo.predict": predict, "zoo.generate": generate}
BLOCKS = {"model_dim": 8, "num_heads": 2, "ff_dim": 8, "num_layers": 1}


@dataclass(frozen=True)
class Case:
    """A small model and data of a task.

    Args:
        model: Name of the model.
        settings: Its constructor arguments.
        options: Options of the training. "data" is a file that the fixture `files` writes.
        asked: Words after the run for the command that uses it.
        answered: Number of answers.
        wrong: Words that the command refuses.
        message: Sentence of the refusal.
    """

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    answered: int = 1
    wrong: tuple[str, ...] = ()
    message: str = ""


SMALL_IMAGES = {"image_size": 8}
CASES = {
    "classification": Case(
        "simplenet", {"units": (8,)}, SMALL_IMAGES,
        asked=("{place}/image.npz",), wrong=("absent.png",), message="expected a file",
    ),
    "anomaly": Case(
        "autoencoder", {"units": (8,), "code": 2}, SMALL_IMAGES | {"task": "anomaly", "normal_class": ("0", "1")},
        asked=("{place}/image.npz",), wrong=("{place}/image.npz", "--top", "2"),
        message="--top 2: expected a run that gives classes, ordered classes, captions",
    ),
    "ordinal": Case(
        "tabular", {"units": (8,)}, {"data": "rows.csv", "target_column": ("place",), "task": "ordinal",
                                     "class_order": ("south", "north")},
        asked=("size=2",), wrong=("size=2", "--labels", "a"), message="--labels a: expected a run that gives captions",
    ),
    "regression": Case(
        "tabular", {"units": (8,)}, {"data": "rows.csv", "target_column": ("price",)},
        asked=("{place}/rows.csv",), answered=80, wrong=("size=2", "--top", "2"), message="--top 2: expected a run",
    ),
    "multilabel": Case(
        "tabular", {"units": (8,)}, {"data": "rows.csv", "label_columns": ("is_*",), "columns": ("size", "place")},
        asked=("size=2", "place=north"), wrong=("sise=2",), message="did you mean 'size'",
    ),
    "translation": Case(
        "transformer_seq2seq", BLOCKS, {"data": "pairs.tsv", "task": "translation", "tokens": "word"},
        asked=("one two", "two"), answered=2, wrong=("one", "--label", "x"), message="--label: expected a run",
    ),
    "language_model": Case(
        "transformer_lm", BLOCKS, {"data": "text.txt", "sequence_length": 8, "batch_size": 4},
        asked=("one", "--length", "3", "--count", "2"), answered=2,
        wrong=("one", "--beams", "2"), message="--beams: expected a run that translates",
    ),
    "contrastive": Case(
        "cross_modal", {"filters": (4,), "pools": 1, "units": 8, "word_dim": 8, "embedding_dim": 4}, SMALL_IMAGES,
        asked=("{place}/image.npz",), wrong=("{place}/image.npz", "--labels", "one"), message="expected two or more",
    ),
    "generation": Case(
        "gan_dense", {"latent_size": 4}, SMALL_IMAGES,
        asked=("--count", "2", "--output", "{place}/drawn.png"), answered=2,
        wrong=("a text",), message="TEXT: expected none",
    ),
    "link_prediction": Case(
        "kg_embedding", {"dim": 4}, {"dataset": "family"},
        asked=("Colin father ?",), wrong=("Colin father",), message="expected 'HEAD RELATION .'",
    ),
    "detection": Case(
        "detector", {"backbone": "mobilenet_v2", "alpha": 0.1, "width": 8, "depth": 1},
        {"data": "annotated", "image_size": 32, "augment": "flip + zoom"},
        asked=("{place}/annotated/JPEGImages/test_0.png",),
        wrong=("{place}/annotated/JPEGImages/test_0.png", "--top", "2"), message="it takes --min-score",
    ),
    "segmentation": Case(
        "unet", {"filters": 2, "depth": 1}, {"dataset": "shapes", "image_size": 8},
        asked=("{place}/colours.npz",), wrong=("{place}/colours.npz", "--top", "2"), message="--top 2: expected a run",
    ),
    "forecasting": Case(
        "dlinear", {"window": 5}, {"data": "series.csv", "horizon": 4, "lookback": 12},
        asked=("{place}/series.csv",), answered=4, wrong=("{place}/series.csv", "--top", "3"),
        message="--top 3: expected a run that gives classes",
    ),
    "recommendation": Case(
        "two_tower", {"dim": 4, "units": (4,)}, {"data": "events.csv"},
        asked=("ann", "bob"), answered=2, wrong=("anna",), message="unknown user 'anna': .* did you mean 'ann'",
    ),
    "imitation": Case("simplenet"),
}  # fmt: skip
# The outputs of a model of one's own are the user's; tests/compression/tasks/test_own_model.py has its tests.
NAMES = [name for name in task_facts.TASKS if name != "own_model"]
FROM_DATA = [name for name, facts in task_facts.TASKS.items() if facts.from_data]
# Tasks that the default run trains in tests of their own, or as tests/compression/tasks needs them.
ELSEWHERE = (
    *("translation", "contrastive", "generation", "link_prediction", "detection", "forecasting", "anomaly"),
    *("regression", "multilabel"),
)


def each(names):
    """Return the decorator of a test that trains each of these tasks."""
    slow = [pytest.mark.slow]
    return pytest.mark.parametrize("name", [pytest.param(name, marks=slow * (name in ELSEWHERE)) for name in names])


class Training(NamedTuple):
    """A training of a task: its data, its result, and what its task measured on the test split."""

    data: Dataset
    result: TrainResult
    scores: dict[str, Any]
    shown: dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with inputs and own data."""
    folder, rng = tmp_path_factory.mktemp("contract"), np.random.default_rng(0)
    np.savez(folder / "image.npz", x=rng.integers(0, 255, (1, 8, 8, 1)).astype("uint8"))
    np.savez(folder / "colours.npz", x=rng.integers(0, 255, (1, 8, 8, 3)).astype("uint8"))
    words = ("one", "two", "three", "four")
    lines = [" ".join(rng.choice(words, rng.integers(1, 4))) for _ in range(60)]
    (folder / "pairs.tsv").write_text("source\ttarget\n" + "".join(f"{line}\t{line}\n" for line in lines))
    pictures.voc(folder / "annotated", {"train": 40, "val": 8, "test": 8})
    sizes, places = rng.uniform(1, 3, 80), rng.choice(["north", "south"], 80)
    rows = [f"{s:.3f},{p},{s * 10:.2f},{int(s > 2)},{int(p == 'north')}" for s, p in zip(sizes, places, strict=True)]
    (folder / "rows.csv").write_text("\n".join(["size,place,price,is_large,is_north", *rows]))
    (folder / "text.txt").write_text("\n".join(lines))
    (folder / "other.xyz").touch()
    taken = [f"{user},i{item}" for user in ("ann", "bob", "cy") for item in rng.permutation(30)[:14]]
    (folder / "events.csv").write_text("\n".join(["user,item", *taken]) + "\n")
    steps = np.arange(400)
    rows = [f"2024-01-01T00:{i // 60 % 60:02}:{i % 60:02},{np.sin(i / 2):.4f},{np.cos(i / 3):.4f}" for i in steps]
    (folder / "series.csv").write_text("\n".join(["time,a,b", *rows]) + "\n")
    return folder


def configuration(name, place):
    """Return the training of a case: two epochs of two steps."""
    case = CASES[name]
    options = {"batch_size": 16, "learning_rate": 0.01} | case.options
    if "data" in options:
        options["data"] = place / options["data"]
    return TrainConfig(
        model=case.model, settings=case.settings, epochs=2, steps_per_epoch=2, output=place / name, **options
    )


def codes_and_images():
    """Return examples for tasks that no data set is for: codes, and images to draw from them."""
    rng, spec = np.random.default_rng(0), tasks.of("imitation").example_spec((4,))
    splits = [
        Split(rng.normal(size=(n, 4)).astype("float32"), rng.random((n, 8, 8, 1), "float32")) for n in (40, 16, 16)
    ]
    layers = [keras.Input((4,)), keras.layers.Dense(64, activation="sigmoid"), keras.layers.Reshape((8, 8, 1))]
    return Dataset(spec, *splits), keras.Sequential(layers)


@pytest.fixture(scope="module")
def trained(place):
    """A function that returns the training of a task, which is done when it is first asked for."""
    made = {}

    def run(name):
        if name not in made:
            config, task, measured = configuration(name, place), tasks.of(name), []
            data, model = (None, None) if task.facts.from_data else codes_and_images()
            data = data or load_data(config.resolved())
            with pytest.MonkeyPatch.context() as patch:
                original = type(task).measure
                patch.setattr(
                    type(task), "measure", lambda *args, **how: measured.append(original(*args, **how)) or measured[-1]
                )
                patch.setattr(generation, "SAMPLES", 60)
                result = train(config, model=model, data=data, verbose=False)
            made[name] = Training(data, result, *measured[-1])
        return made[name]

    return run


def test_every_task_has_a_case_and_an_object():
    assert CASES.keys() == set(NAMES)
    for name in NAMES:
        task = tasks.of(name)
        assert isinstance(task, Task) and task.name == name and task.facts is task_facts.TASKS[name]
    with pytest.raises(UsageError, match="unknown task 'clasification': .* did you mean 'classification'"):
        tasks.of("clasification")


@each(NAMES)
def test_a_few_steps_are_trained_scored_ranked_and_reported(name, trained):
    task, (data, result, scores, shown) = tasks.of(name), trained(name)
    metrics, kept = result.run.read_metrics(), tasks.kept(shown)
    ranks = [task.rank(row) for row in result.history]
    assert len(ranks) == 2 and all(math.isfinite(number) for rank in ranks for number in rank)
    if any(key.startswith("val_") for key in result.history[0]):
        assert metrics["epoch"] == 1 + max(range(2), key=lambda i: ranks[i])
    assert scores == metrics["test"] and scores["examples"] == len(data.test)
    assert json.loads(json.dumps(kept)) == {key: metrics[key] for key in kept}
    known = [figure for figure in task.facts.figures if figure in scores]
    assert set(task.facts.headline) & set(known)
    assert all(isinstance(scores[figure], str) or math.isfinite(scores[figure]) for figure in known)
    assert all(low <= scores[figure] <= high for figure, (low, high) in kept["intervals"].items())
    assert task.headline(scores, kept["intervals"])
    page, report = task.page(data, scores, shown), result.run.report_file.read_text()
    assert page.tiles and page.subject in report
    assert all(title in report for title in re.findall("<h2>[^<]*</h2>", "".join(page.sections)))


@each(NAMES)
def test_batches_have_the_form_that_is_stated(name, trained):
    task, (data, result, *_) = tasks.of(name), trained(name)
    config = result.run.read_config()["config"]
    real = next(iter(task.training_batches(config, data, 16, 0, 1)))
    spec = task.example_spec(data.spec.input_shape if task.facts.from_data and data.spec.kind != "triples" else None, 5)
    stated = task.example_batch(config, spec, 16)
    keras.tree.assert_same_structure(stated, real)
    for expected, tensor in zip(keras.tree.flatten(stated), keras.tree.flatten(real), strict=True):
        assert len(expected.shape) == len(tensor.shape)
        assert expected.dtype == keras.backend.standardize_dtype(tensor.dtype)
    inputs = keras.tree.flatten(task.inputs(result.model, data.spec))
    assert all(tensor.shape[0] == 1 for tensor in inputs)


@each(FROM_DATA)
def test_a_run_answers_one_command_and_others_refuse_it(name, place, trained, capsys):
    case, facts, run = CASES[name], task_facts.of(name), trained(name).result.run

    def filled(words):
        return [str(run.path), *(word.format(place=place) for word in words)]

    assert COMMANDS[facts.command].main([*filled(case.asked), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"] if isinstance(found, dict) else len(found)) == case.answered
    assert COMMANDS[facts.command].main(filled(case.wrong)) == 2
    out, error = capsys.readouterr()
    assert out == "" and len(error.splitlines()) == 1 and re.search(case.message, error), error
    for command, module in COMMANDS.items():
        if command != facts.command:
            assert module.main(filled(("x",))) == 2
            assert f"this one gives {facts.gives}; use {facts.command}" in capsys.readouterr().err
    if not facts.explained:
        assert explain.main(filled(("x",))) == 2
        assert f"expected a run that gives classes or texts, this one is for {name}" in capsys.readouterr().err


@each([name for name in FROM_DATA if task_facts.of(name).explained])
def test_an_example_is_read_for_its_explanation(name, trained):
    task, (data, result, *_) = tasks.of(name), trained(name)
    texts = Texts(data.vocabulary, read_target_vocabulary(RunFolder(result.run.path), data.spec))
    x = data.test.x[:2].astype(data.spec.input_dtype)
    readings = list(task.readings(result.model, [x[:1], x[1:]], data.spec, texts))
    assert len(readings) == 2
    for index, reading in enumerate(readings):
        assert 0 < reading.probability <= 1 and reading.label in reading.statement.replace("…", "") or reading.tokens
        assert reading.spans and (reading.logits is not None) == task.facts.classifies
        assert isinstance(task.truth(data, "test", index), str)


@pytest.mark.parametrize("name", FROM_DATA)
def test_own_data_of_another_form_are_refused_unread(name, place):
    config = TrainConfig(model=CASES[name].model, data=place / "other.xyz", task=name)
    with pytest.raises(UsageError, match=re.escape(f"other.xyz: expected {task_facts.of(name).own_data}")):
        check_source(config)
