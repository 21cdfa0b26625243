"""`compress` makes a measured file with its receipt from a trained model and a recipe; `verify` measures it again."""

import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from compression import tasks
from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.on_device.generate import METADATA
from compression.passes.distillation import FEW, Taught
from compression.pipeline import origin, stages
from compression.pipeline.stage_plot import draw
from compression.pipeline.stages import Stages, Trained
from compression.receipts import by_layer, distributions
from compression.receipts.artifacts import (
    beside,
    check_beside,
    file_name,
    read_receipt,
    receipt_path,
    sealed,
    shown_path,
)
from compression.receipts.receipt import comparable, differences, file_sizes, measure, measure_outputs, read_off
from compression.receipts.subject import Subject
from compression.recipes import language
from compression.recipes.language import Kernel, Recipe
from compression.recipes.options import Calibration, ExportOptions, Reporting, StageTraining
from compression.surgery.copying import copies, weights_sha256
from compression.tasks.base import Export, Form, OutputForm
from zoo.config.sampling import Beam
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.progress import bar
from zoo.data import Dataset
from zoo.data.dataset import leaves
from zoo.guests.model import BATCH_SIZE
from zoo.runs import space
from zoo.runs.folder import RunFolder
from zoo.system import temporary
from zoo.system.files import write_json
from zoo.tasks.own_model import OwnModel, without_labels
from zoo.training.data import check_data, with_filled_batch

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Compressed:
    """A file and its receipt.

    Args:
        path: Path of the file.
        receipt: Numbers that were measured on it.
    """

    path: Path
    receipt: dict[str, Any]


def compress(
    model: keras.Model,
    data: Dataset,
    recipe: str | Recipe,
    folder: Path,
    *,
    export: ExportOptions = ExportOptions(),
    calibration: Calibration = Calibration(),
    training: StageTraining | None = None,
    beam: Beam | None = None,
    provenance: Mapping[str, Any] | None = None,
    sign: "Ed25519PrivateKey | None" = None,
    progress: Reporting = Reporting(),
    page: bool = True,
) -> Compressed:
    """Carry out a recipe on a trained model, and measure the file on the test split.

    Args:
        model: Built Keras 3 model, which is not changed. For data of classes it gives logits, and the file
            probabilities; for data of `zoo.data.sources.structures` the file gives what it gives. Other tasks need the
            methods of the zoo's own models: of `zoo.models.Transformer` to generate text, of `CrossModal` to match
            images and captions, of `GAN` to draw images.
        data: Data of the model. The training split trains and calibrates, the test split measures.
        recipe: Recipe, see `compression.recipes.language`.
        folder: Folder that gets `<recipe>.tflite`, its receipt, its labels or vocabularies, and a folder with its
            training stages.
        export: What the file takes, and how it is written.
        calibration: Training examples that calibrate int8 and int16x8.
        training: How the stages of the recipe are trained; a recipe that trains needs it.
        beam: Beam search for translations, in Keras and in the file; default, that of `zoo.generate`.
        provenance: Origin of the model, for the receipt.
        sign: Private key that signs the receipt, see `compression.receipts.signing`.
        progress: How the work is reported.
        page: Whether what a page shows of the file besides its receipt is measured as well.

    Raises:
        UsageError: Recipe, options, model and data do not fit together. This is found before work starts.
        zoo.console.errors.Interrupted: A signal came while a stage was trained. The same call continues from there.
        zoo.console.errors.Failed: The conversion failed, or the file cannot be run.
    """
    recipe = language.parse(recipe) if isinstance(recipe, str) else recipe
    if not len(data.test):
        raise UsageError(f"{data.spec.name}: expected test examples to measure the file on, it has none here")
    original, form = _form(model, data, recipe, export, training, beam)
    _check_temporary(data)
    kernel = tflite.check(original, recipe, form.interface, export.kernel)
    path = folder / f"{file_name(recipe, form.interface, kernel, export.bare)}.tflite"
    examples = form.calibration(calibration.examples, calibration.seed) if recipe.takes_examples else None
    for sentence in form.advice(original, recipe):
        progress.say(sentence)
    write = functools.partial(_write, form=form, recipe=recipe.file, export=export, kernel=kernel, calibration=examples)

    trained, rows, plan = Trained(original, original), [], None
    if recipe.stages:
        plan = _planned(original, data.spec.task, form, recipe, folder, training, calibration, progress.say)
        if training.every_stage:
            trained, rows = _train_and_measure(plan, trained, form, write, progress)
        else:
            *_, trained = stages.run(plan, progress.say, progress.verbose)

    progress.say(f"exporting {path.name}")
    with bar(f"exporting {path.name}", progress.verbose):
        written = write(trained, path)
    if mixed := written.told():
        progress.say(mixed)
    form.write_beside(path)
    progress.say(f"measuring {path.name} on {len(form.data.test):,} test examples")
    made = {
        "recipe": str(recipe),
        "task": data.spec.task,
        "engine": written.engine,
        **({"weight_bits": dict(written.bits)} if written.bits else {}),
        **({"memory": written.memory.to_json()} if written.memory else {}),
        "lstm_kernel": kernel,
        "calibration_examples": 0 if examples is None else form.calibration_count(examples),
        "seed": calibration.seed,
        **({"stages_folder": plan.folder.name, "stages_sha256": stages.sha256_of(plan)} if plan else {}),
        **(provenance or {}),
        "weights_sha256": weights_sha256(model),
    }
    receipt = {"made": made, "interface": form.interface.to_json(), "about": form.described(trained.model)}
    receipt["beside"] = _beside(form, path)
    subject = form.subject(trained.as_trained, original)
    with bar(f"measuring {path.name}", progress.verbose):
        receipt |= measure(path, subject)
    if plan and training.every_stage:
        if "not_run" not in receipt:
            rows.append({"stage": str(recipe.stages[-1]), **_sizes(receipt), **receipt["test"]["litert"]})
            progress.say(f"  {_sentence(form, rows[-1])}")
            if receipt["test"]["litert"]:
                draw(path.with_suffix(".stages.png"), rows, recipe.precision, form.plotted)
        receipt["stages"] = rows
    receipt = sealed(receipt, sign)
    write_json(receipt_path(path), receipt)
    if page:
        with bar("comparing layers and answers with the model", progress.verbose):
            _write_shown(path, receipt, form, subject, trained.model, original)
    return Compressed(path, receipt)


def _write_shown(
    path: Path, receipt: Mapping[str, Any], form: Form, subject: Subject, model: keras.Model, original: keras.Model
) -> None:
    """Write what the page shows of a file besides its receipt: errors by layer, changed answers, weights before it."""
    shown: dict[str, Any] = {"sha256": receipt["sha256"]}
    if "not_run" in receipt:
        shown["layers"] = {"left_out": receipt["not_run"]}
    elif not isinstance(form, OutputForm):
        shown["layers"] = {"left_out": "the file is called once for each token, or has several functions"}
    else:
        split = form.data.validation if len(form.data.validation) else form.data.test
        batch = form.interface.batch
        examples = form.chosen(split, max(by_layer.EXAMPLES, batch), seed=0)
        shown["layers"] = by_layer.measure(path, form.subject_on(model, examples), batch)
    if "not_run" not in receipt:
        shown["changed"] = form.changed(subject, original)
    shown["weights"] = distributions.quantiles(original, form.examples(FEW, seed=0))
    shown_path(path).parent.mkdir(exist_ok=True)
    write_json(shown_path(path), shown)


def _check_temporary(data: Dataset) -> None:
    """Raise UsageError unless the temporary folder has room for the inputs that a child process measures."""
    inputs = 4 * sum(array.size for array in leaves(data.test.x))  # float32
    space.check(Path(tempfile.gettempdir()), inputs, "TMPDIR")


def assist(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    *,
    training: StageTraining,
    calibration: Calibration = Calibration(),
) -> None:
    """Train the stages of a recipe on a worker of multi_worker that is not the chief.

    The chief calls `compress` with the same arguments meanwhile, and makes the file.

    Args:
        model: Trained model.
        data: Data of the model.
        recipe: Recipe with stages.
        training: How the stages are trained.
        calibration: Training examples that calibrate.
    """
    with temporary.folder() as folder:
        original, form = _form(model, data, recipe, ExportOptions(), training, None)
        plan = _planned(original, data.spec.task, form, recipe, folder, training, calibration)
        for _ in stages.run(plan, lambda text: None, verbose=False):
            pass


def verify(path: Path, model: keras.Model, data: Dataset) -> tuple[dict[str, Any], list[str]]:
    """Measure a file again, and compare the numbers with its receipt.

    Args:
        path: Path of the file, with its receipt and the folder of its stages beside it.
        model: Model that the recipe began with.
        data: Data of the model; the file is measured on the test split.

    Returns:
        Numbers that were measured, and a sentence for each number of the receipt that was not reproduced.

    Raises:
        UsageError: The file is damaged, does not belong to its receipt, was made from another model, or its stages are
            missing or altered. It is not run then.
        zoo.console.errors.Failed: LiteRT cannot run the file.
    """
    receipt = read_receipt(path)
    recipe = origin.check_recipe(path, receipt)
    check_beside(path, receipt)
    made = receipt["made"]
    if (expected := made.get("weights_sha256")) and (found := weights_sha256(model)) != expected:
        raise UsageError(
            f"{path}: expected the model that it was made from, whose weights have the SHA-256 {expected}"
            f" (made.weights_sha256 of its receipt), received one with {found}"
        )
    kind = tasks.of(data.spec.task)
    original = kind.exported(model, data)
    form = kind.recorded(Export(model, original, data), receipt)
    trained = Trained(original, original)
    if name := made.get("stages_folder"):
        examples = form.examples(FEW, seed=0)
        base = copies(original, examples)
        plan = Stages(base, form.data, recipe, path.parent / name, TrainConfig(), examples, task=form.task)
        last = len(recipe.stages) - 1  # its model has the weights of all stages
        _check_stages(path, plan, made, weights_sha256(original))
        trained = stages.restored(plan, last)
    described = {"interface": form.interface.to_json(), "about": form.described(trained.model)}
    texts = differences(receipt, described) + _embedded(path, receipt) + _other_files(path, receipt, form)
    if texts:  # before the file is run
        return described, texts
    subject = form.subject(trained.as_trained, original)
    found = comparable(receipt, read_off(path, subject))
    if texts := differences(receipt, found):
        return found, texts
    measured = found | measure_outputs(path, subject, found)
    return measured, differences(receipt, measured)


def _check_stages(path: Path, plan: Stages, made: Mapping[str, Any], model: str) -> None:
    """Check that the stages of a file are whole, and those that its receipt names, of a model with this SHA-256."""
    if not RunFolder(plan.place(len(plan.recipe.stages) - 1)).finished:
        raise UsageError(
            f"{path}: expected the stages it was trained in, in {plan.folder}, found them not or not whole;"
            " compress again"
        )
    expected, found = made.get("stages_sha256"), stages.sha256_of(plan)
    if expected not in (None, found):
        raise UsageError(
            f"{plan.folder}: altered: the SHA-256 of its stages is {found}, in the receipt of {path.name} it is"
            f" {expected}"
        )
    claimed = stages.claimed(plan)
    for name, value in (("stages", [str(stage) for stage in plan.recipe.stages]), ("model", model)):
        if claimed[name] != value:
            raise UsageError(
                f"{plan.folder / 'stages.json'}: {name}: expected {value}, as the receipt and the run have it, found"
                f" {claimed[name]}"
            )


def _embedded(path: Path, receipt: Mapping[str, Any]) -> list[str]:
    """Return a sentence if the description inside a file is not that of its receipt; a bare file has none."""
    noted = flatbuffer.metadata(flatbuffer.read(path), METADATA)
    try:
        same = noted is None or json.loads(noted) == receipt["about"]
    except ValueError:
        same = False
    return [] if same else [f"about: the description inside {path.name} is another"]


def _other_files(path: Path, receipt: Mapping[str, Any], form: Form) -> list[str]:
    """Return a sentence for each file beside a file that is not as the run has it; a receipt of 0.1 lists none."""
    expected = _beside(form, path)
    found = receipt.get("beside")
    if found is None:
        found = beside(path, (suffix for suffix in expected if path.with_suffix(suffix).is_file()))
        expected = {suffix: expected[suffix] for suffix in found}
    return [
        f"{path.with_suffix(suffix).name}: expected the SHA-256 {expected.get(suffix)} as the run has it, found"
        f" {found.get(suffix)}"
        for suffix in sorted(expected.keys() | found.keys())
        if found.get(suffix) != expected.get(suffix)
    ]


def _beside(form: Form, path: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that the form writes beside a file, by suffix."""
    with temporary.folder() as folder:
        copy = folder / path.name
        form.write_beside(copy)
        return beside(copy, sorted(made.name.removeprefix(path.stem) for made in folder.iterdir()))


def _form(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    export: ExportOptions,
    training: StageTraining | None,
    beam: Beam | None,
) -> tuple[keras.Model, Form]:
    """Return the model that becomes a file, in float32, and its form, after checking that it is possible."""
    tasks.entry(data.spec.task).limits.check(recipe, export, beam=beam)
    kind = tasks.of(data.spec.task)
    original = kind.exported(model, data)
    classifier = training.config.classifier if training else None
    return original, kind.build(Export(model, original, data, export, beam, classifier))


def _planned(
    original: keras.Model,
    task: str,
    form: Form,
    recipe: Recipe,
    folder: Path,
    training: StageTraining | None,
    calibration: Calibration,
    say: Callable[[str], None] = lambda text: None,
) -> Stages:
    """Return what the stages are trained with, after checking that it is possible."""
    if training is None:
        raise UsageError(f"--recipe {recipe}: expected how the model was trained (training), received none")
    data, trained_for = form.data, form.task
    if data.train.y is None and recipe.distill:
        trained_for, data = without_labels(form.task, data)
        say(f"{data.spec.name} has no labels: the model learns from its teacher alone")
    elif data.train.y is None or data.spec.unlabelled:
        raise UsageError(
            f"--recipe {recipe}: expected labels to train with, {data.spec.name} has none; give labels, a teacher"
            " (distill), or a precision alone"
        )
    config = training.config
    if not config.batch_size and isinstance(form.task, OwnModel):
        config = with_filled_batch(dataclasses.replace(config, batch_size=BATCH_SIZE), data)
    elif not config.batch_size:
        config = config.resolved()
    check_data(config, data)
    if trained_for:
        trained_for.check(config, data)
    examples = form.examples(calibration.examples, calibration.seed)
    plan = Stages(
        base=copies(original, examples),
        data=data,
        recipe=recipe,
        folder=folder / f"{recipe.training_name}.stages",
        config=config,
        examples=examples,
        teachers=training.teachers,
        identity=weights_sha256(original),
        task=trained_for,
        taught=form.taught() or (Taught("numbers" if tasks.entry(task).limits.numbers else "classes"),),
    )
    stages.check(plan)
    stages.share(plan)
    return plan


def _train_and_measure(
    plan: Stages,
    begun: Trained,
    form: Form,
    write: Callable[[Trained, Path], tflite.Made],
    progress: Reporting,
) -> tuple[Trained, list[dict[str, Any]]]:
    """Train all stages; return the last model, and sizes and scores of the file before each stage."""
    trained, rows, left = begun, [], stages.run(plan, progress.say, progress.verbose)
    for number, name in enumerate(["start", *map(str, plan.recipe.stages[:-1])]):
        file = plan.folder / f"{number}.tflite"
        progress.say(f"exporting and measuring a file {f'after {name}' if number else 'before the first stage'}")
        with bar(f"exporting {file.name}", progress.verbose):
            write(trained, file)
        if not flatbuffer.flex(flatbuffer.read(file)):  # files with Flex operators cannot be run here
            with bar(f"measuring {file.name}", progress.verbose):
                found = form.subject(begun.model, begun.model).scored(file)
            rows.append({"stage": name, **_sizes(file_sizes(file, begun.model)), **found})
            progress.say(f"  {_sentence(form, rows[-1])}")
        trained = next(left)
    return trained, rows


def _write(
    trained: Trained,
    path: Path,
    *,
    form: Form,
    recipe: Recipe,
    export: ExportOptions,
    kernel: Kernel,
    calibration: Any,
) -> tflite.Made:
    """Write the file of a model, and return how it was made."""
    described = json.dumps(form.described(trained.model), separators=(",", ":"))
    made = tflite.export(
        trained.model,
        path,
        recipe,
        form.interface,
        calibration=calibration,
        kernel=kernel,
        probabilities=form.softmax,
        metadata={METADATA: described.encode()},
        ranges=trained.file_ranges,
        bare=export.bare,
        allow_flex=export.allow_flex,
        seconds=export.seconds,
    )
    form.complete(path)
    return made


def _sizes(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in ("bytes", "gzip_bytes")}


def _sentence(form: Form, row: Mapping[str, Any]) -> str:
    score = f"test {form.headline(row)}, " if any(isinstance(value, float) for value in row.values()) else ""
    return f"after {row['stage']}: {score}{row['bytes']:,} bytes (gzip {row['gzip_bytes']:,})"
