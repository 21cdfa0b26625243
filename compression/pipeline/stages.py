"""Training stages of a recipe, one after the other. Each is a run folder, so it can be inspected and resumed."""

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import strategies
from compression.exporting.tflite import Ranges
from compression.passes import channels, clustering, pruning, qat
from compression.passes.distillation import FEW, Distillation, Taught, initialise
from compression.passes.parametrize import Parametrized, preserving
from compression.recipes.language import Recipe
from compression.recipes.passes import Channels, Cluster, Distill, Pass, Prune, Qat
from compression.surgery.copying import reinitialized, weights_sha256
from compression.surgery.folding import fold_batch_norms
from compression.surgery.layers import chosen, matching, with_kernels
from strategies import collective
from zoo.config import privacy
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import Dataset
from zoo.data.batches.pipeline import steps_per_epoch
from zoo.data.dataset import leaves, mapped
from zoo.data.images import scaled
from zoo.introspection.variables import set_weights
from zoo.isolation import models
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256, write_json
from zoo.tasks.base import Task
from zoo.training.loop import train

# Largest norm of the gradients of a stage whose run has no limit. Folded into their kernels, normalisations no longer
# bound them: quantization-aware training of a ResNet-8, trained by SGD at 0.1 without a limit, went to a loss of 1e12.
CLIP = 1.0
WEIGHT_BITS = {"int8": 8, "dynamic": 8, "int16x8": 8, "int4": 4}


@dataclass(frozen=True)
class Trained:
    """A model after a stage.

    Args:
        model: Plain model with the weights of the file.
        as_trained: Model that computes as in training: the same one, or one that rounds its activations.
        points: Points where activations are rounded, if any.
        ranges: (lowest, highest) of each point, by name.
    """

    model: keras.Model
    as_trained: keras.Model
    points: qat.Points | None = None
    ranges: dict[str, tuple[float, float]] | None = None

    @property
    def file_ranges(self) -> Ranges | None:
        """Trained ranges of activations for the exported file."""
        return Ranges(self.points, self.ranges) if self.points else None


@dataclass(frozen=True)
class Stages:
    """What the stages of a recipe are trained with.

    Args:
        base: Function that returns the trained model that the recipe begins with, a new copy at every call.
        data: Data of the model. The training split trains, the validation split is reported.
        recipe: Recipe with stages.
        folder: Folder that gets a run folder for each stage.
        config: Configuration of the run. A stage takes a share of its epochs and learning rate unless it has its own.
        examples: (count, ...) Inputs of the model, a tuple if it takes several. They initialise the ranges of
            activations.
        teachers: Function that returns the built models to learn from; by default the model that the recipe begins
            with.
        identity: SHA-256 of the weights that the recipe begins with.
        task: What the model is trained for, by default the task of the data.
        taught: What a student learns of each output of its teachers; one stands for all.
    """

    base: Callable[[], keras.Model]
    data: Dataset
    recipe: Recipe
    folder: Path
    config: TrainConfig
    examples: Any
    teachers: Callable[[], list[keras.Model]] | None = None
    identity: str = ""
    task: Task | None = None
    taught: Sequence[Taught] = (Taught("classes"),)

    @property
    def few(self) -> Any:
        return keras.tree.map_structure(lambda x: x[:FEW], self.examples)

    def taught_by(self) -> list[keras.Model]:
        """Return the models that the recipe learns from.

        Raises:
            UsageError: The recipe names teachers, and none were given.
        """
        if self.teachers:
            return self.teachers()
        if self.recipe.distill.teacher:
            raise UsageError(
                "distill: expected teachers, a function that returns the models to learn from, received none"
            )
        return [self.base()]

    def place(self, index: int) -> Path:
        """Return the folder of a stage."""
        return self.folder / f"{index + 1}-{self.recipe.stages[index].word}"

    def steps(self, stage: Pass) -> int:
        """Return the number of training steps of a stage."""
        epochs = configured(self.config, stage).epochs
        return epochs * steps_per_epoch(len(self.data.train), self.config.batch_size)

    def kept(self, index: int) -> Path:
        """Return the file with the decisions of a stage besides its weights: removed channels, or ranges."""
        return self.place(index).with_suffix(".json")


def configured(config: TrainConfig, stage: Pass) -> TrainConfig:
    """Return the configuration that a stage is trained with.

    A stage has shares of the epochs and of the learning rate of the configuration; where they are None, its usual ones.
    So it has of the epochs of a run that was not trained here, which are 0.
    """
    share_of_epochs, share_of_rate = stage.SHARES
    epochs, rate = stage.USUAL
    epochs = max(1, round(config.epochs * share_of_epochs)) if config.epochs else epochs
    rate = rate if config.learning_rate is None else config.learning_rate * share_of_rate
    return dataclasses.replace(
        config,
        epochs=stage.epochs or epochs,
        learning_rate=stage.learning_rate or rate,
        schedule="cosine",
        clip_norm=config.clip_norm or CLIP,
        weight_decay=0.0,  # it would pull shared and rounded weights towards zero
        early_stopping=0,
        adversarial=None,
        private=None,  # `check` refuses it
        keep="last",  # the best epoch may precede the final sparsity
        average=None,
        snapshots=0,
        precision="float32",
        init_from=None,  # a stage begins with the model of the stage before it
        pretrained=None,
        input_range=None,
        probe=None,
        freeze=None,
        new_head=False,
        unfreeze_every=0,
        layer_decay=None,
        resume=False,
    )


def run(stages: Stages, say: Callable[[str], None], verbose: bool = True) -> Iterator[Trained]:
    """Train the stages that are not finished yet, and yield the model after each; call `check` before.

    Args:
        stages: Stages to train.
        say: Function that is called with a sentence at each stage.
        verbose: Whether the progress of training is shown.

    Raises:
        Interrupted: A signal came. The next call continues from there.
    """
    for index, stage in enumerate(stages.recipe.stages):
        title = f"stage {index + 1} of {len(stages.recipe.stages)}: {stage}"
        place = RunFolder(stages.place(index))
        if place.finished:
            say(f"{title}: finished before")
        else:
            say(title)
            if isinstance(stage, Channels):
                say(f"  {_channel_plan(stages, index).told()}")
            _train(stages, index, place, verbose)
            shutil.rmtree(place.checkpoints, ignore_errors=True)
        yield restored(stages, index)


def check(stages: Stages) -> None:
    """Plan the stages, and refuse what is not possible.

    Raises:
        UsageError: A stage is not possible for this model or its training, or the folder holds other stages.
    """
    claimed = stages.folder / "stages.json"
    privacy.check_trained_on(stages.config.private, stages.recipe)
    teachers = stages.taught_by() if stages.recipe.distill else []
    mine = {
        "stages": [str(s) for s in stages.recipe.stages],
        "distillation": str(stages.recipe.distill or ""),
        "teachers": [weights_sha256(teacher) for teacher in teachers],
        "model": stages.identity,
        "epochs": stages.config.epochs,
        "batch_size": stages.config.batch_size,
        "learning_rate": stages.config.learning_rate,
        "optimizer": stages.config.optimizer,
        "augment": stages.config.augment,
        "strategy": stages.config.strategy,
        "seed": stages.config.seed,
    }
    theirs = json.loads(claimed.read_text(encoding="utf-8")) if claimed.is_file() else mine
    if changed := [
        f"{name} {theirs[name]} (now {value})" for name, value in mine.items() if theirs.get(name, value) != value
    ]:
        raise UsageError(f"{stages.folder}: holds other stages: {', '.join(changed)}; remove it, or choose --output")
    model, plans = _with_weights(stages, -1), {}
    for index, stage in enumerate(stages.recipe.stages):
        if isinstance(stage, Channels):
            x, y = _labelled(stages)
            options = {"importance": stage.importance, "skip": stage.skip, "coupled": stage.coupled}
            plans[index] = channels.plan(model, stage.share, keep=stage.counts, **options, x=x, y=y)
            channels.apply(model, plans[index])
            if stage.init == "scratch":
                reinitialized(model, stages.few)
        elif isinstance(stage, Prune):
            pruning.targets(model, stage)
            pruning.timing(stage, stages.steps(stage))
        elif isinstance(stage, Cluster):
            clustering.check(model, stage)
        elif isinstance(stage, Qat):
            matching(with_kernels(model), stage.skip, "skip")
            if stages.recipe.precision == "int8":
                qat.Points(model, stages.few, stage.skip)
    if stages.recipe.distill:
        _distillation(stages, teachers, model)
    stages.folder.mkdir(parents=True, exist_ok=True)
    write_json(claimed, mine)
    for index, plan in plans.items():
        if not stages.kept(index).is_file():
            write_json(stages.kept(index), plan.to_json())


def _distillation(stages: Stages, teachers: list[keras.Model], model: keras.Model) -> Distillation:
    return Distillation(stages.recipe.distill, teachers, model, stages.examples, stages.taught)


def share(stages: Stages) -> None:
    """Copy the chief's folder of stages to every worker of multi_worker; call `check` before.

    All workers then agree on which stages are finished. Snapshots are shared when a stage is resumed.
    """
    strategy = strategies.build(stages.config.strategy, stages.config.virtual_devices)
    if collective.workers(strategy) == 1:
        return
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for path in sorted(p for p in stages.folder.rglob("*") if p.suffix in (".json", ".keras")):
            packed.write(path, path.relative_to(stages.folder))
    content = collective.broadcast(strategy, content.getvalue())
    if collective.worker(strategy):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            packed.extractall(stages.folder)


def restored(stages: Stages, index: int) -> Trained:
    """Return the model after a stage; -1 is the model that the recipe begins with."""
    model = _with_weights(stages, index)
    stage = stages.recipe.stages[index] if index >= 0 else None
    if not isinstance(stage, Qat) or stages.recipe.precision != "int8":
        return Trained(model, model)
    ranges = {name: tuple(pair) for name, pair in json.loads(stages.kept(index).read_text(encoding="utf-8")).items()}
    fold_batch_norms(model, stages.few)
    points = qat.Points(model, stages.few, stage.skip)
    per_tensor = stages.recipe.one_scale
    as_trained = qat.Quantized(
        model, points=points, functions={}, per_tensor=per_tensor, skip=stage.skip, ranges=ranges, biases=False
    )
    return Trained(model, as_trained, points, ranges)


def sha256_of(stages: Stages) -> str:
    """Return the SHA-256 of what the last model is restored from: the decisions of all stages, and its weights."""
    last = len(stages.recipe.stages) - 1
    files = [
        stages.folder / "stages.json",
        *map(stages.kept, range(last + 1)),
        RunFolder(stages.place(last)).model_file,
    ]
    found = {file.relative_to(stages.folder).as_posix(): sha256(file) for file in files if file.is_file()}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def claimed(stages: Stages) -> dict[str, Any]:
    """Return what the stages of a folder were trained with, as `check` wrote it; `stages` and `model` are there.

    Raises:
        UsageError: stages.json is missing or damaged.
    """
    file = stages.folder / "stages.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found | {name: found[name] for name in ("stages", "model")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: expected what the stages were trained with, found {error}") from None


def _channel_plan(stages: Stages, index: int) -> channels.ChannelPlan:
    """Return which channels a stage keeps, as `check` decided."""
    return channels.ChannelPlan.from_json(json.loads(stages.kept(index).read_text(encoding="utf-8")))


def _labelled(stages: Stages) -> tuple[Any, Any]:
    """Return training inputs of the model, and their labels."""
    few = stages.data.train.take(np.arange(min(len(stages.data.train), len(leaves(stages.examples)[0]))))
    return mapped(lambda array: scaled(array, stages.data.spec.pixel_range), few.x), few.y


def _with_weights(stages: Stages, index: int) -> keras.Model:
    model = stages.base()
    if index < 0 and stages.recipe.distill and stages.recipe.distill.init == "teacher":
        initialise(model, stages.taught_by()[0], stages.few)
    for i, stage in enumerate(stages.recipe.stages[: index + 1]):
        if isinstance(stage, Channels):
            channels.apply(model, _channel_plan(stages, i))
    if index >= 0:
        place = RunFolder(stages.place(index))
        # The stages of pretrained runs come without config.json; the receipt has their hash.
        file = place.check_model_file() if place.started else place.model_file
        models.check_weights(file)
        model.load_weights(file)
    return model


def _train(stages: Stages, index: int, place: RunFolder, verbose: bool) -> None:
    stage = stages.recipe.stages[index]
    config = dataclasses.replace(configured(stages.config, stage), output=place.path, resume=place.started)

    def begin() -> keras.Model:
        model = _with_weights(stages, index - 1)
        if isinstance(stage, Channels):
            channels.apply(model, _channel_plan(stages, index))
            if stage.init == "scratch":
                set_weights(model, reinitialized(model, stages.few).get_weights())
        made = _WRAPPED[type(stage)](stages, index, model)
        if stages.recipe.distill:
            made.distillation = _distillation(stages, stages.taught_by(), model)
        return made

    def end(made: Parametrized) -> keras.Model:
        model = made.strip()
        if isinstance(made, qat.Quantized) and made.names:
            write_json(stages.kept(index), _final_ranges(made, stages))
        return model

    try:
        train(
            config, model=begin, data=stages.data, task=stages.task, finished=end, private=place.path, verbose=verbose
        )
    except Interrupted as error:
        raise Interrupted(f"{stage}: {error}; give the same command again to continue") from None


def _final_ranges(made: qat.Quantized, stages: Stages) -> dict[str, tuple[float, float]]:
    """Return the trained ranges; inside loops, where training records none, those of the examples."""
    seen = qat.calibrated(made.model, made.points, stages.examples)
    return {name: pair if name in made.followed else seen[name] for name, pair in made.final_ranges().items()}


def _plain(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    return Parametrized(model, {})


def _pruned(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    stage = stages.recipe.stages[index]
    return pruning.Pruned(model, stage, stages.steps(stage))


def _clustered(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    fold_batch_norms(model, stages.few)
    pruned, _ = _to_preserve(stages, index, model)
    return clustering.clustered(model, stages.recipe.stages[index], pruned)


def _quantized(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    stage, recipe = stages.recipe.stages[index], stages.recipe
    fold_batch_norms(model, stages.few)
    pruned, shared = _to_preserve(stages, index, model)
    kernels = [v for found in chosen(model, (), ()).values() for v in found]
    points = qat.Points(model, stages.few, stage.skip) if recipe.precision == "int8" else None
    return qat.Quantized(
        model,
        points=points,
        functions=preserving(kernels, pruned, shared),
        bits=WEIGHT_BITS[recipe.precision],
        per_tensor=recipe.one_scale,
        skip=stage.skip,
        momentum=stage.momentum,
        ranges=qat.calibrated(model, points, stages.examples) if points else None,
    )


def _to_preserve(stages: Stages, index: int, model: keras.Model) -> tuple[set[str], dict[str, int | None]]:
    """Return paths of the kernels that earlier stages pruned, and the channel axis of those that they clustered."""
    pruned: set[str] = set()
    shared: dict[str, int | None] = {}
    for stage in stages.recipe.stages[:index]:
        if isinstance(stage, Prune):
            pruned = {v.path for kernels in pruning.targets(model, stage).values() for v in kernels}
        elif isinstance(stage, Cluster):
            shared = clustering.targets(model, stage)
    return pruned, shared


_WRAPPED: dict[type[Pass], Callable[[Stages, int, keras.Model], Any]] = {
    Channels: _plain,
    Prune: _pruned,
    Cluster: _clustered,
    Qat: _quantized,
    Distill: _plain,
}
