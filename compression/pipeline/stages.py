"""The training stages of a recipe, one after the other: each a run folder, so each can be looked at and resumed."""

import dataclasses
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import strategies
from compression.exporting.tflite import Ranges
from compression.passes import channels, clustering, pruning, qat
from compression.passes.distillation import Distillation, initialise
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
from zoo.data.images import scaled
from zoo.runs.folder import RunFolder
from zoo.system.files import write_json
from zoo.training.loop import train

WEIGHT_BITS = {"int8": 8, "dynamic": 8, "int16x8": 8, "int4": 4}
EXAMPLES = 8  # that show which layer feeds which


@dataclass(frozen=True)
class Trained:
    """A model as a stage left it.

    Args:
        model: plain, with the weights that a file gets.
        as_trained: that computes as it did in training: the same, or with its activations rounded.
        points: where, if they are.
        ranges: of these points.
    """

    model: keras.Model
    as_trained: keras.Model
    points: qat.Points | None = None
    ranges: dict[str, tuple[float, float]] | None = None

    @property
    def file_ranges(self) -> Ranges | None:
        """What an exported file is told of the ranges."""
        return Ranges(self.points, self.ranges) if self.points else None


@dataclass(frozen=True)
class Stages:
    """What the stages of a recipe are trained with.

    Args:
        base: returns the trained model that the recipe begins with, a new one at every call.
        data: the training split trains, the validation split is reported.
        recipe: with stages.
        folder: gets a run folder for each stage.
        config: of the run; what a pass leaves open is a share of its epochs and learning rate.
        examples: (count, ...), as the model takes them, a tuple where it takes several; the ranges of activations begin
            with what they give.
        teachers: returns the built models to learn from, if the recipe has a teacher.
        identity: of the model that the recipe begins with.
    """

    base: Callable[[], keras.Model]
    data: Dataset
    recipe: Recipe
    folder: Path
    config: TrainConfig
    examples: Any
    teachers: Callable[[], list[keras.Model]] | None = None
    identity: str = ""

    @property
    def few(self) -> Any:
        return keras.tree.map_structure(lambda x: x[:EXAMPLES], self.examples)

    def place(self, index: int) -> Path:
        """Return the folder of a stage."""
        return self.folder / f"{index + 1}-{self.recipe.stages[index].word}"

    def steps(self, stage: Pass) -> int:
        """Return how many steps a stage is trained for."""
        epochs = configured(self.config, stage).epochs
        return epochs * steps_per_epoch(len(self.data.train), self.config.batch_size)

    def kept(self, index: int) -> Path:
        """Return the file that keeps what a stage decided besides weights."""
        return self.place(index).with_suffix(".json")


def configured(config: TrainConfig, stage: Pass) -> TrainConfig:
    """Return the configuration that a stage is trained with."""
    share_of_epochs, share_of_rate = stage.SHARES
    return dataclasses.replace(
        config,
        epochs=stage.epochs or max(1, round(config.epochs * share_of_epochs)),
        learning_rate=stage.learning_rate or config.learning_rate * share_of_rate,
        schedule="cosine",
        weight_decay=0.0,  # would pull shared and rounded weights towards zero
        early_stopping=0,
        adversarial=None,
        private=None,  # refused before, see `check`
        keep="last",  # the best epoch may be one before the sparsity was reached
        average=None,
        snapshots=0,
        precision="float32",
        init_from=None,  # it begins with the model that the stage before it left
        freeze=None,
        new_head=False,
        unfreeze_every=0,
        layer_decay=None,
        resume=False,
    )


def run(stages: Stages, say: Callable[[str], None], verbose: bool = True) -> Iterator[Trained]:
    """Train the stages that are not finished yet, after `check`, and yield the model that each leaves.

    Args:
        stages: what to train.
        say: told what is being done.
        verbose: show the progress of training.

    Raises:
        Interrupted: a signal came; started again, it goes on where it was.
    """
    for index, stage in enumerate(stages.recipe.stages):
        title = f"stage {index + 1} of {len(stages.recipe.stages)}: {stage}"
        place = RunFolder(stages.place(index))
        if place.finished:
            say(f"{title}: finished before")
        else:
            say(title)
            _train(stages, index, place, verbose)
            shutil.rmtree(place.checkpoints, ignore_errors=True)
        yield restored(stages, index)


def check(stages: Stages) -> None:
    """Decide what the stages will do, and refuse what they cannot.

    Raises:
        UsageError: a stage that this model or training cannot have, or a folder with the stages of something else.
    """
    claimed = stages.folder / "stages.json"
    privacy.check_trained_on(stages.config.private, stages.recipe)
    if stages.recipe.distill and stages.teachers is None:
        raise UsageError("distill: expected teachers, a function that returns the models to learn from, received none")
    teachers = stages.teachers() if stages.recipe.distill else []
    mine = {
        "stages": [str(s) for s in stages.recipe.stages],
        "distillation": str(stages.recipe.distill or ""),
        "teachers": [weights_sha256(teacher) for teacher in teachers],
        "model": stages.identity,
        "epochs": stages.config.epochs,
        "batch_size": stages.config.batch_size,
        "learning_rate": stages.config.learning_rate,
        "strategy": stages.config.strategy,
        "seed": stages.config.seed,
    }
    theirs = json.loads(claimed.read_text(encoding="utf-8")) if claimed.is_file() else mine
    if changed := [
        f"{name} {theirs.get(name)} (now {value})" for name, value in mine.items() if theirs.get(name) != value
    ]:
        raise UsageError(
            f"{stages.folder}: holds stages of something else: {', '.join(changed)}; remove it, or choose --output"
        )
    model, plans = _with_weights(stages, -1), {}
    for index, stage in enumerate(stages.recipe.stages):
        if isinstance(stage, Channels):
            x, y = _labelled(stages)
            options = {"importance": stage.importance, "skip": stage.skip, "x": x, "y": y}
            plans[index] = channels.plan(model, stage.share, keep=stage.counts, **options)
            channels.apply(model, plans[index])
            if stage.init == "scratch":
                reinitialized(model)
        elif isinstance(stage, Prune):
            pruning.targets(model, stage)
            pruning.timing(stage, stages.steps(stage))
        elif isinstance(stage, Cluster):
            clustering.check(model, stage)
        elif isinstance(stage, Qat):
            matching(with_kernels(model), stage.skip, "skip")
    if stages.recipe.distill:
        Distillation(stages.recipe.distill, teachers, model, stages.few)
    stages.folder.mkdir(parents=True, exist_ok=True)
    write_json(claimed, mine)
    for index, plan in plans.items():
        if not stages.kept(index).is_file():
            write_json(stages.kept(index), plan.to_json())


def share(stages: Stages) -> None:
    """Give every worker of multi_worker what the chief's folder holds of earlier attempts, after `check`.

    So all agree on what is finished; snapshots are shared when a stage goes on.
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
    """Return the model that a stage left; -1, the one that the recipe begins with."""
    model = _with_weights(stages, index)
    stage = stages.recipe.stages[index] if index >= 0 else None
    if not isinstance(stage, Qat) or stages.recipe.precision != "int8":
        return Trained(model, model)
    ranges = {name: tuple(pair) for name, pair in json.loads(stages.kept(index).read_text(encoding="utf-8")).items()}
    fold_batch_norms(model, stages.few)
    points = qat.Points(model, stages.few, stage.skip)
    per_tensor = stages.recipe.one_scale
    as_trained = qat.Quantized(
        model, points=points, functions={}, per_tensor=per_tensor, skip=stage.skip, ranges=ranges
    )
    return Trained(model, as_trained, points, ranges)


def _labelled(stages: Stages) -> tuple[np.ndarray, np.ndarray]:
    """Return training examples as the model takes them, and their labels."""
    few = stages.data.train.take(np.arange(min(len(stages.data.train), len(stages.examples))))
    return scaled(few.x), few.y


def _with_weights(stages: Stages, index: int) -> keras.Model:
    model = stages.base()
    if index < 0 and stages.recipe.distill and stages.recipe.distill.init == "teacher":
        initialise(model, stages.teachers()[0], stages.few)
    for i, stage in enumerate(stages.recipe.stages[: index + 1]):
        if isinstance(stage, Channels):
            channels.apply(
                model, channels.ChannelPlan.from_json(json.loads(stages.kept(i).read_text(encoding="utf-8")))
            )
    if index >= 0:
        model.load_weights(RunFolder(stages.place(index)).model_file)
    return model


def _train(stages: Stages, index: int, place: RunFolder, verbose: bool) -> None:
    stage = stages.recipe.stages[index]
    config = dataclasses.replace(configured(stages.config, stage), output=place.path, resume=place.started)

    def begin() -> keras.Model:
        model = _with_weights(stages, index - 1)
        if isinstance(stage, Channels):
            plan = channels.ChannelPlan.from_json(json.loads(stages.kept(index).read_text(encoding="utf-8")))
            channels.apply(model, plan)
            if stage.init == "scratch":
                model.set_weights(reinitialized(model).get_weights())
        made = _WRAPPED[type(stage)](stages, index, model)
        if stages.recipe.distill:
            made.distillation = Distillation(stages.recipe.distill, stages.teachers(), model, stages.few)
        return made

    def end(made: Parametrized) -> keras.Model:
        model = made.strip()
        if isinstance(made, qat.Quantized) and made.names:
            write_json(stages.kept(index), _final_ranges(made, stages))
        return model

    try:
        train(config, model=begin, data=stages.data, finished=end, private=place.path, verbose=verbose)
    except Interrupted as error:
        raise Interrupted(f"{stage}: {error}; give the same command again to go on") from None


def _final_ranges(made: qat.Quantized, stages: Stages) -> dict[str, tuple[float, float]]:
    """Return the ranges that training followed, and where it could not look, inside loops, those of the examples."""
    seen = qat.calibrated(made.model, made.points, stages.examples)
    return {name: pair if name in made.followed else seen[name] for name, pair in made.final_ranges().items()}


def _plain(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    return Parametrized(model, {})


def _pruned(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    stage = stages.recipe.stages[index]
    return pruning.Pruned(model, stage, stages.steps(stage))


def _clustered(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    fold_batch_norms(model, stages.few)
    pruned, _ = _won(stages, index, model)
    return clustering.clustered(model, stages.recipe.stages[index], pruned)


def _quantized(stages: Stages, index: int, model: keras.Model) -> Parametrized:
    stage, recipe = stages.recipe.stages[index], stages.recipe
    fold_batch_norms(model, stages.few)
    pruned, shared = _won(stages, index, model)
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


def _won(stages: Stages, index: int, model: keras.Model) -> tuple[set[str], dict[str, int | None]]:
    """Return which kernels earlier stages pruned, and which they clustered, by path with the axis of their channels."""
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
