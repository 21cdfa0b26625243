"""What holds for every task in the registry, on one small trained run each: the fixture `<task>_run` of conftest.py."""

import functools
import importlib
import json
import shutil
from pathlib import Path
from typing import get_args

import pytest

from compression import compress, tasks, verify
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import from_json
from compression.on_device.generate import METADATA
from compression.pipeline import pipeline, source
from compression.receipts.artifacts import receipt_path
from compression.receipts.subject import Subject
from compression.recipes import language
from compression.recipes.limits import Limits
from compression.recipes.options import Calibration, StageTraining
from compression.tasks.base import Export, Form
from zoo import stock
from zoo.config import task_facts
from zoo.config.sampling import Beam
from zoo.config.task_facts import Task
from zoo.console.errors import UsageError

# A model of one's own is no run; test_own_model.py has its tests.
TASKS = [name for name in tasks.TASKS if task_facts.of(name).from_data]
RECIPES = ("quantized", pytest.param("float32", marks=pytest.mark.slow))
# The default run compresses these in tests of their own.
ELSEWHERE = ("segmentation", "detection", "generation")


def of_task(task, *values):
    """Return the parameters of a test of a task."""
    return pytest.param(task, *values, marks=[pytest.mark.slow] * (task in ELSEWHERE))


tasks_of_runs = pytest.mark.parametrize("task", [of_task(task) for task in TASKS])
SINCE_0_2 = ("digest", "beside", "tolerances", "task", "weights_sha256", "stages_sha256")


@pytest.fixture(scope="module")
def opened(request):
    """Return a function that loads the run of a task: (opened run, model, data)."""

    @functools.cache
    def load(task):
        run = source.open_run(request.getfixturevalue(f"{task}_run"), {}, any_task=True)
        return run, *run.load()

    return load


@pytest.fixture(scope="module")
def made(opened, tmp_path_factory):
    """Return a function that compresses the run of a task in float32, or in int8 (dynamic if int8 is refused)."""

    @functools.cache
    def compressed(task, recipe):
        run, model, data = opened(task)
        quantized = "dynamic" if "int8" in tasks.entry(task).limits.words else "int8"
        return pipeline.compress(
            model,
            data,
            quantized if recipe == "quantized" else recipe,
            tmp_path_factory.mktemp(task),
            calibration=Calibration(examples=32),
            training=StageTraining(run.config),
            beam=Beam(beams=1) if tasks.entry(task).limits.beam_search else None,
            provenance=run.provenance(),
        )

    return compressed


def form_of(task, opened):
    """Return (exported model, form) of a task's run."""
    run, model, data = opened(task)
    kind = tasks.of(task)
    exported = kind.exported(model, data)
    return exported, kind.build(Export(model, exported, data, classifier=run.config.classifier))


def test_every_task_of_the_zoo_has_a_form_in_the_module_of_its_name():
    assert set(TASKS) == set(get_args(Task)) == set(tasks.TASKS) - {"own_model"}
    for task in tasks.TASKS:
        module, _, name = tasks.entry(task).form.partition(":")
        assert module == f"compression.tasks.{task}" and issubclass(tasks.of(task), Form)
        assert getattr(importlib.import_module(module), name) is tasks.of(task)
    with pytest.raises(UsageError, match="unknown task 'translations'.*did you mean 'translation'"):
        tasks.of("translations")


@tasks_of_runs
def test_a_form_gives_the_model_its_examples_and_the_file_its_calibration(task, opened):
    exported, form = form_of(task, opened)
    exported(form.examples(4, seed=0))
    calibration = form.calibration(16, seed=0)
    assert form.calibration_count(calibration) >= min(16, len(form.data.train))
    assert from_json(json.loads(json.dumps(form.interface.to_json()))) == form.interface
    subject = form.subject(exported, exported)
    assert isinstance(subject, Subject) and subject.model is subject.original is exported


@pytest.mark.parametrize("recipe", RECIPES)
@tasks_of_runs
def test_a_file_is_measured_and_describes_itself(task, recipe, made, opened):
    file = made(task, recipe)
    receipt = file.receipt
    assert receipt["made"]["task"] == task
    _, form = form_of(task, opened)
    assert from_json(receipt["interface"]) == form.interface
    noted = json.loads(flatbuffer.metadata(flatbuffer.read(file.path), METADATA))
    assert noted == receipt["about"] and noted.items() >= json.loads(json.dumps(form.about())).items()
    assert receipt["test"]["litert"].keys() == receipt["test"]["keras"].keys() - {"perplexity"} | (
        receipt["test"]["litert"].keys() & {"tokens", "bleu_signature", "chrf_signature"}
    )
    assert 0 <= receipt["parity"]["largest_difference"] < (1e-4 if recipe == "float32" else 1)
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in receipt["latency"])
    assert file.path.with_suffix(".labels.txt").is_file() or file.path.with_suffix(".vocabulary.json").is_file()


@pytest.mark.parametrize("recipe", RECIPES)
@tasks_of_runs
def test_a_file_is_reproduced_from_its_receipt(task, recipe, made, opened):
    _, model, data = opened(task)
    measured, differences = pipeline.verify(made(task, recipe).path, model, data)
    assert differences == [] and measured["test"]["litert"] == made(task, recipe).receipt["test"]["litert"]


@tasks_of_runs
def test_scores_are_put_into_words(task, made, opened):
    form, receipt = tasks.of(task), made(task, "quantized").receipt
    test = receipt["test"]
    assert form.headline(test["litert"], test.get("intervals")) in form.comparison(test)
    assert "Keras" in form.comparison(test) and "from Keras" in form.parity(receipt["parity"])[0]
    number, label = form.plotted(test["litert"])
    assert 0 <= number <= 100 and label.endswith((", %", ", dB", "MSE"))
    # What the file of a stage is scored by can be written and plotted as well.
    exported, built = form_of(task, opened)
    scored = built.subject(exported, exported).scored(made(task, "quantized").path)
    assert form.headline(scored) and form.plotted(scored)[1] == label


def refusals(task):
    """Return (words of the command, part of the sentence) for all that a task's limits refuse."""
    limits: Limits = tasks.entry(task).limits
    precisions = language.PRECISIONS.keys()
    arguments = {"channels": "(0.5)", "distill": "(elsewhere)"}
    found = []
    for key, reason in limits.words.items():
        names = key.split(" + ")
        precision = "" if names[-1] in precisions else " + dynamic"
        recipe = " + ".join(f"{name}{arguments.get(name, '')}" for name in names) + precision
        found.append((["--recipe", recipe], f"{names[0]} of {limits.run}: {reason}"))
    if not limits.by_output:
        found.append((["--recipe", "dynamic", "--uint8-input"], "--uint8-input: expected a run that classifies images"))
        found.append((["--recipe", "dynamic", "--skip-worst", "1"], "--skip-worst: expected a run that gives classes"))
    if not limits.beam_search:
        found.append((["--recipe", "dynamic", "--beams", "2"], "--beams: expected a run that translates"))
    if limits.batch:
        found.append((["--recipe", "dynamic", "--batch", "2"], f"--batch 2: {limits.batch}; expected 1"))
    if limits.skip:
        found.append((["--recipe", "dynamic(skip=head)"], f"skip: {limits.skip}; leave skip out"))
    return found


@pytest.mark.parametrize(("task", "words", "sentence"), [of_task(t, *each) for t in TASKS for each in refusals(t)])
def test_what_a_task_cannot_have_is_refused_before_the_run_is_loaded(
    task, words, sentence, request, tmp_path, capsys, monkeypatch
):
    run = request.getfixturevalue(f"{task}_run")
    capsys.readouterr()
    monkeypatch.setattr("compression.pipeline.source.OpenedRun.load", lambda self: pytest.fail("began to work"))
    assert compress.main([str(run), *words, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1 and sentence in error and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cnn-digits", "kg_embedding-family", "cross_modal-digits"])
def test_files_of_version_0_1_are_reproduced(name, tmp_path, capsys):
    """The runs of the stock were written by version 0.1.0; without what was added since, so were their receipts."""
    file = stock.path(Path(name), "file")
    shutil.copytree(file.parent, tmp_path / "artifacts")
    copy = tmp_path / "artifacts" / file.name
    receipt = json.loads(receipt_path(copy).read_text())
    for part, names in (("", SINCE_0_2), ("made", SINCE_0_2), ("test", ("inputs_sha256",))):
        for each in names:
            (receipt[part] if part else receipt).pop(each, None)
    receipt_path(copy).write_text(json.dumps(receipt))
    assert verify.main([str(copy), name]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "reproduced: test " in out and "told, not checked, as the receipt has no digest: made.engine" in out
