"""`compress`: from a trained model and a recipe to a measured file with its receipt."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer, interface
from compression.flatbuffers.interface import AnyInterface, Interface, PairInterface
from compression.on_device.generate import METADATA
from compression.pipeline import stages
from compression.pipeline.stage_plot import draw
from compression.pipeline.stages import EXAMPLES, Stages, Trained
from compression.receipts.artifacts import read_receipt, receipt_path
from compression.receipts.receipt import differences, file_sizes, measure
from compression.receipts.wording import scored
from compression.recipes import images as image_recipes
from compression.recipes import language as recipes
from compression.recipes import links as link_recipes
from compression.recipes import pairs as pair_recipes
from compression.recipes import texts as text_recipes
from compression.recipes.language import Kernel, Recipe
from compression.surgery.copying import copies, in_float32, weights_sha256
from compression.tasks import generation as drawn
from compression.tasks.classification import Classes, interface_of
from compression.tasks.contrastive import ImageTexts
from compression.tasks.generation import Drawn
from compression.tasks.link_prediction import Links
from compression.tasks.texts import Texts
from zoo.config.sampling import Beam
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.runs.folder import RunFolder
from zoo.system.files import write_json

CALIBRATION = 256
# How the data of a task become a file.
Form = Classes | Texts | ImageTexts | Drawn | Links


@dataclass(frozen=True)
class Compressed:
    """A file and what was measured on it."""

    path: Path
    receipt: dict[str, Any]


def compress(
    model: keras.Model,
    data: Dataset,
    recipe: str | Recipe,
    folder: Path,
    *,
    kernel: Kernel = "auto",
    uint8: bool = False,
    input_size: tuple[int, int] | None = None,
    batch: int = 1,
    beam: Beam | None = None,
    bare: bool = False,
    allow_flex: bool = False,
    calibration: int = CALIBRATION,
    seed: int = 0,
    seconds: float = tflite.SECONDS,
    training: TrainConfig | None = None,
    teachers: Callable[[], list[keras.Model]] | None = None,
    provenance: dict[str, Any] | None = None,
    every_stage: bool = True,
    say: Callable[[str], None] = lambda text: None,
    verbose: bool = False,
) -> Compressed:
    """Carry out a recipe on a trained model, and measure the file on the test split.

    Args:
        model: built, of any Keras 3 kind, that gives logits; to make texts, or to match them with images, of the
            functions that `endpoints.check_makes_texts` and `check_matches_pairs` ask for; to draw images, a GAN. It
            stays as it is.
        data: the training split trains and calibrates, the test split measures.
        recipe: see `compression.recipes.language`.
        folder: gets `<recipe>.tflite`, its receipt, its labels or vocabularies, and a folder with its training stages.
        kernel: of recurrent layers: loop, unrolled, fused, or auto.
        uint8: take camera bytes, and scale them inside the file.
        input_size: (height, width) of those bytes, resized inside the file.
        batch: static batch size of the file.
        beam: the search that translations are measured by, in Keras and in the file; default, `zoo.generate`'s.
        bare: leave names of tensors and metadata out of the file, which run without them.
        allow_flex: allow operators that need TensorFlow's kernels on the device.
        calibration: how many training examples calibrate, or tokens of texts.
        seed: of their choice.
        seconds: limit of the conversion.
        training: how the model was trained; the stages of a recipe take a share of its epochs and learning rate.
        teachers: returns the models that a recipe with `distill` learns from; called inside the strategy's scope.
        provenance: written into the receipt: where the model comes from.
        every_stage: export and measure what each stage leaves, besides the file at the end.
        say: told what is being done.
        verbose: show the progress of training.

    Raises:
        UsageError: a recipe, model and data that do not fit together, before work starts.
        zoo.console.errors.Interrupted: a signal came while a stage was trained; called again, it goes on there.
        zoo.console.errors.Failed: the conversion failed, or the file cannot be run.
    """
    if isinstance(recipe, str):
        recipe = recipes.parse(recipe)
    if not len(data.test):
        raise UsageError(f"{data.spec.name}: expected test examples to measure the file on, it has none here")
    original, form = _begun(model, data, recipe, training, uint8=uint8, input_size=input_size, batch=batch, beam=beam)
    kernel = tflite.check(original, recipe, form.interface, kernel)
    path = folder / f"{file_name(recipe, form.interface, kernel, bare)}.tflite"
    options = {
        "kernel": kernel,
        "calibration": form.calibration(calibration, seed) if recipe.calibrated else None,
        "probabilities": not isinstance(form, Drawn),
        "bare": bare,
        "allow_flex": allow_flex,
        "seconds": seconds,
    }

    trained, rows = Trained(original, original), []
    if recipe.stages:
        plan = _planned(original, form, recipe, folder, training, teachers, calibration, seed)
        if every_stage:
            trained, rows = _staged(plan, trained, form, options, say, verbose)
        else:
            *_, trained = stages.run(plan, say, verbose)

    say(f"exporting {path.name}")
    engine = _exported(trained, path, recipe.file, form, options)
    form.write_beside(path)
    say(f"measuring {path.name} on {len(form.data.test):,} test examples")
    made = {
        "recipe": str(recipe),
        "engine": engine,
        "lstm_kernel": kernel,
        "calibration_examples": _count(options["calibration"]),
        "seed": seed,
        **(provenance or {}),
    }
    receipt = {"made": made, "interface": form.interface.to_json(), "about": _about(form, trained.model)}
    receipt |= measure(path, form.subject(trained.as_trained, original))
    if recipe.stages:
        made["stages_folder"] = plan.folder.name
        if every_stage and "not_run" not in receipt:
            rows.append({"stage": str(recipe.stages[-1]), **_sizes(receipt), **receipt["test"]["litert"]})
            say(f"  {_sentence(rows[-1])}")
            draw(rows, recipe.precision, path.with_suffix(".stages.png"))
        receipt |= {"stages": rows} if every_stage else {}
    write_json(receipt_path(path), receipt)
    return Compressed(path, receipt)


def _begun(
    model: keras.Model, data: Dataset, recipe: Recipe, training: TrainConfig | None, **options: Any
) -> tuple[keras.Model, Form]:
    """Return the model that becomes a file, in float32, and how; options as of `_form`."""
    if data.spec.task != "generation":
        form = _form(data, recipe, **options)
        return in_float32(model), form
    bytes_asked = bool(options.get("uint8") or options.get("input_size"))
    image_recipes.check(recipe, uint8=bytes_asked, beam=options.get("beam"))
    original = drawn.plain(model)
    classifier = training.classifier if training else None
    return original, drawn.form_of(model, original, data, batch=options.get("batch", 1), classifier=classifier)


def _form(
    data: Dataset,
    recipe: Recipe,
    *,
    uint8: bool = False,
    input_size: tuple[int, int] | None = None,
    batch: int = 1,
    beam: Beam | None = None,
) -> Form:
    """Return how the data's task becomes a file.

    Raises:
        UsageError: options or words of a recipe that a file of this task cannot have.
    """
    spec = data.spec
    if spec.task == "classification":
        text_recipes.check_classes(beam)
        return Classes(data, interface_of(spec, uint8=uint8, input_size=input_size, batch=batch))
    if spec.task == "contrastive":
        pair_recipes.check(recipe, uint8=uint8 or input_size is not None, batch=batch, beam=beam)
        return ImageTexts(data)
    if spec.task == "link_prediction":
        link_recipes.check(recipe, uint8=uint8 or input_size is not None, batch=batch, beam=beam)
        return Links(data, interface_of(spec))
    text_recipes.check(spec.task, recipe, uint8=uint8 or input_size is not None, batch=batch, beam=beam)
    return Texts(data, beam or Beam())


def _count(calibration: Any) -> int:
    """Return how many examples calibrate, or tokens of texts."""
    if calibration is None:
        return 0
    if isinstance(calibration, dict) and "tokens" in calibration:
        return int(np.count_nonzero(calibration["tokens"]))
    return len(next(iter(calibration.values())) if isinstance(calibration, dict) else calibration)


def assist(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    *,
    training: TrainConfig,
    teachers: Callable[[], list[keras.Model]] | None = None,
    calibration: int = CALIBRATION,
    seed: int = 0,
) -> None:
    """Train the stages of a recipe as a worker of multi_worker other than the chief, which makes the file.

    Args: as of `compress`, whose call on the chief this goes with.
    """
    with tempfile.TemporaryDirectory() as folder:
        original, form = _begun(model, data, recipe, training)
        plan = _planned(original, form, recipe, Path(folder), training, teachers, calibration, seed)
        for _ in stages.run(plan, lambda text: None, verbose=False):
            pass


def _planned(
    original: keras.Model,
    form: Form,
    recipe: Recipe,
    folder: Path,
    training: TrainConfig | None,
    teachers: Callable[[], list[keras.Model]] | None,
    calibration: int,
    seed: int,
) -> Stages:
    """Return what the stages are trained with, after what cannot be was refused."""
    if training is None:
        raise UsageError(f"--recipe {recipe}: expected how the model was trained (training), received none")
    plan = Stages(
        base=copies(original),
        data=form.data,
        recipe=recipe,
        folder=folder / f"{recipe.training_name}.stages",
        config=training,
        examples=form.examples(calibration, seed),
        teachers=teachers,
        identity=weights_sha256(original),
    )
    stages.check(plan)
    stages.share(plan)
    return plan


def _staged(
    plan: Stages,
    begun: Trained,
    form: Form,
    options: dict[str, Any],
    say: Callable[[str], None],
    verbose: bool,
) -> tuple[Trained, list[dict[str, Any]]]:
    """Train all stages; return what they end with, and what the file of every stage but the last has, as it ends."""
    trained, rows, left = begun, [], stages.run(plan, say, verbose)
    for number, name in enumerate(["start", *map(str, plan.recipe.stages[:-1])]):
        file = plan.folder / f"{number}.tflite"
        _exported(trained, file, plan.recipe.file, form, options)
        if not flatbuffer.flex(flatbuffer.read(file)):  # which cannot be run here
            found = form.subject(begun.model, begun.model).scored(file)
            rows.append({"stage": name, **_sizes(file_sizes(file, begun.model)), **found})
            say(f"  {_sentence(rows[-1])}")
        trained = next(left)
    return trained, rows


def _exported(trained: Trained, path: Path, recipe: Recipe, form: Form, options: dict[str, Any]) -> str:
    """Write the file of a model, and return the engine that made it."""
    metadata = {METADATA: json.dumps(_about(form, trained.model), separators=(",", ":")).encode()}
    ranges = trained.file_ranges
    return tflite.export(trained.model, path, recipe, form.interface, ranges=ranges, metadata=metadata, **options)


def _about(form: Form, model: keras.Model) -> dict[str, Any]:
    """Return what somebody who has only the file must know to use it."""
    return form.about() | (form.learnt(model) if isinstance(form, ImageTexts) else {})


def _sizes(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in ("bytes", "gzip_bytes")}


def _sentence(row: dict[str, Any]) -> str:
    return f"after {row['stage']}: test {scored(row)}, {row['bytes']:,} bytes (gzip {row['gzip_bytes']:,})"


def verify(path: Path, model: keras.Model, data: Dataset) -> tuple[dict[str, Any], list[str]]:
    """Measure a file again, and return what was measured and what of its receipt was not reproduced.

    Args:
        path: of the file, its receipt and the folder of its stages beside it.
        model: that the recipe began with.
        data: whose test split it was measured on.

    Raises:
        UsageError: the file is not whole, or is another than its receipt's, or its stages are not there; nothing of it
            is run then.
        zoo.console.errors.Failed: LiteRT cannot run it.
    """
    receipt = read_receipt(path)
    original, form = _recorded(receipt, model, data)
    as_trained = original
    if name := receipt["made"].get("stages_folder"):
        recipe = recipes.parse(receipt["made"]["recipe"])
        examples = form.examples(EXAMPLES, seed=0)
        plan = Stages(copies(original), form.data, recipe, path.parent / name, TrainConfig(), examples)
        last = len(recipe.stages) - 1  # has the weights of all
        if not RunFolder(plan.place(last)).finished:
            raise UsageError(
                f"{path}: expected the stages it was trained in, in {plan.folder}, found them not or not whole;"
                " compress again"
            )
        as_trained = stages.restored(plan, last).as_trained
    measured = measure(path, form.subject(as_trained, original))
    return measured, differences(receipt, measured)


def _recorded(receipt: dict[str, Any], model: keras.Model, data: Dataset) -> tuple[keras.Model, Form]:
    """Return the model that became a file, in float32, and how it was made and measured, as its receipt says."""
    found, test = interface.from_json(receipt["interface"]), receipt.get("test", {})
    if data.spec.task == "generation":
        original, classifier = drawn.plain(model), test.get("classifier")
        classifier = Path(classifier) if classifier else None
        return original, drawn.form_of(model, original, data, batch=found.batch, classifier=classifier)
    if isinstance(found, Interface):
        form = Links(data, found) if data.spec.task == "link_prediction" else Classes(data, found)
    elif isinstance(found, PairInterface):
        form = ImageTexts(data)
    else:
        form = Texts(data, Beam(**test.get("decoding", {})))
    return in_float32(model), form


def file_name(recipe: Recipe, interface: AnyInterface, kernel: Kernel, bare: bool = False) -> str:
    """Return the name of a file without its suffix: its recipe, and what differs from the default."""
    parts = [recipe.file_name]
    if kernel == "fused" or (kernel == "unrolled" and not recipe.calibrated):
        parts.append(kernel)
    if interface.uint8:
        parts.append("uint8" + ("-{}x{}".format(*interface.resize_from) if interface.resize_from else ""))
    if interface.batch != 1:
        parts.append(f"batch{interface.batch}")
    if bare:
        parts.append("bare")
    return "-".join(parts)
