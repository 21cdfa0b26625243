"""`train`: the one place where a model, a task, data and a strategy meet."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import strategies
from strategies import backend, collective
from strategies.keras_fit import prepared
from zoo import tasks
from zoo.config import task_facts
from zoo.config.train_config import TrainConfig, check_divisible
from zoo.console.errors import Failed, UsageError
from zoo.data import Dataset
from zoo.data.batches.pipeline import on_tensorflow, steps_per_epoch
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder, check_beginning, default_output
from zoo.system.files import sha256
from zoo.system.signals import stopped_by_signals
from zoo.training import averaging, layerwise, optimization, transfer
from zoo.training import private as private_training
from zoo.training.building import built, check_attack, check_private, fitted, maker
from zoo.training.callbacks import Checkpointer, Clock, Memory, Progress, Recorder
from zoo.training.data import facts, load_data
from zoo.training.executions import Executions
from zoo.training.finishing import finish
from zoo.training.numerics import numerics

# Weights and two moments of AdamW, the best epoch's weights, three snapshots and one being written, the model file.
COPIES_ON_DISK = 4 * 4 + 3


@dataclass(frozen=True)
class TrainResult:
    """What a run gives back.

    Args:
        run: its folder; of a worker other than the chief, its own, which may be no longer there.
        metrics: the content of metrics.json.
        history: one row an epoch, as in history.csv.
        model: with the weights that the run ended with.
    """

    run: RunFolder
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    model: keras.Model


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Args:
        snapshot: of itself, where it goes on.
        source: of another run, where it begins with its weights.
        command: the words that started it.
        adapted: how some of its configuration was found, if it was.
    """

    snapshot: checkpoints.Snapshot | None
    source: transfer.Source | None
    command: list[str]
    adapted: Mapping[str, Any] | None


def train(
    config: TrainConfig,
    *,
    model: keras.Model | Callable[[], keras.Model] | None = None,
    data: Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    finished: Callable[[keras.Model], keras.Model] | None = None,
    private: Path | None = None,
    command: list[str] | None = None,
    adapted: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> TrainResult:
    """Train a model with `fit` inside the strategy's scope, and write its run folder.

    Args:
        config: what to train; options left None come from the recipe.
        model: one's own that gives logits, or a function that returns it and is called inside the strategy's scope.
            A model that is built already is made again inside the scope, with its weights, where the strategy has a
            scope. Default, `config.model` with `config.settings`.
        data: one's own, in place of what the configuration names; see `zoo.data.from_tf_data`.
        callbacks: more of them, called after the run's own.
        finished: called with the trained model, returns the one to save and to measure; default, itself.
        private: where a worker other than the chief keeps a run folder of its own; default, nowhere.
        command: the words that started this, for config.json.
        adapted: the record of `zoo.sizing.adaptation.adapted`, where it gave the configuration, for config.json.
        verbose: show progress on standard error.

    Raises:
        UsageError: data, options or an output folder that do not fit together, before training starts.
        strategies.StrategyError: the strategy cannot run here.
        Diverged: a loss or weight that is not finite.
        Interrupted: a signal came; a snapshot was written.
        Failed: another worker was lost.
    """
    config = config.resolved()
    check_beginning(config, pretrained=model is not None)
    strategy = strategies.build(
        config.strategy,
        config.virtual_devices,
        model_devices=config.model_devices,
        facts=config.shared() | facts(config),
        seconds=config.worker_timeout,
    )
    check_divisible(config.batch_size, strategy.num_replicas_in_sync)
    with _run_folder(config, strategy, private) as run:
        data = data or load_data(config)
        told = {"command": command or [], "adapted": adapted}
        return _checked(config, strategy, run, data, model, list(callbacks), finished, told, verbose)


@contextlib.contextmanager
def _run_folder(config: TrainConfig, strategy: Any, private: Path | None) -> Iterator[RunFolder]:
    """Give the run's folder, and to workers other than the chief one of their own, which by default does not stay."""
    if collective.worker(strategy) and private:
        yield RunFolder(private)
        return
    if collective.worker(strategy):
        with tempfile.TemporaryDirectory() as folder:
            yield RunFolder(Path(folder) / "run")
        return
    run = RunFolder(config.output or default_output(config))
    if not config.resume:
        run.check_free()
    yield run


def _checked(config, strategy, run, data, model, callbacks, finished, told, verbose) -> TrainResult:
    """Refuse what does not fit together, then train."""
    spec = data.spec
    if not len(data.test):
        raise UsageError(f"--test-split {config.test_split:g}: expected test examples of {spec.name}, received none")
    if config.early_stopping and not len(data.validation):
        raise UsageError(f"--early-stopping {config.early_stopping}: expected validation examples, received none")
    if config.shift and spec.kind != "image":
        raise UsageError(f"--shift {config.shift}: expected images, {spec.name} gives {spec.kind}")
    if config.class_weights == "balanced" and not task_facts.of(spec.task).classifies:
        raise UsageError(f"--class-weights balanced: expected data with classes, {spec.name} is for {spec.task}")
    check_attack(config, spec)
    check_private(config, data)
    build = maker(config, spec, model)
    _check_same_data(strategy, data, config.shard)
    if config.shard == "files":  # of each worker as many, so that all take the same steps
        fewest = int(collective.gather(strategy, np.array([len(data.train)], np.int64)).min())
        data = dataclasses.replace(data, train=data.train.take(np.arange(fewest)))
    # Batches are made by the global step, so that an epoch may be less than a pass over the examples, or more.
    steps = config.steps_per_epoch or steps_per_epoch(len(data.train), _batch_size(config, strategy))
    verbose = verbose and not collective.worker(strategy)
    snapshot = _snapshot(config, strategy, run, verbose)
    source = transfer.read(config.init_from) if config.init_from and snapshot is None else None
    start = Start(snapshot, source, **told)
    # Outermost: what it may build to look at takes no number from the seed.
    arranged = strategies.arranged(strategy, lambda: built(build, spec))
    with arranged, numerics(config), run.lock(), _named_if_lost(strategy):
        return _train(config, strategy, run, data, build, steps, start, callbacks, finished, verbose)


def _train(config, strategy, run, data, build, steps, start, more_callbacks, finished, verbose) -> TrainResult:
    spec, total = data.spec, config.epochs * steps
    task = tasks.of(spec.task)
    plan = private_training.planned(config, run, len(data.train), steps) if config.private else None

    def batches(start: int, stop: int) -> Any:
        if plan:
            return private_training.batches(plan, config, data, model, start, stop)
        return task.training_batches(config, data, _batch_size(config, strategy), start, stop)

    undo = contextlib.ExitStack()
    with strategy.scope():
        plain = built(build, spec)
        ordered = config.new_head or config.unfreeze_every or config.layer_decay
        order = layerwise.order(plain, spec) if ordered else None
        begun_with = transfer.begin(plain, config, data, start.source, order, verbose)
        model = private_training.around(plan, config, plain) if plan else fitted(config, spec, plain)
        # Their metrics' variables are the scope's as well.
        rates = layerwise.rates(plain, config, order)
        optimizer = optimization.optimizer(config, total, rates)
        model.compile(optimizer=optimizer, **_over_replicas(task.compiled_with(config, spec)))
        undo.enter_context(prepared(model, batches(0, 1)))
    _check_disk(run, model)

    step, memory, arrays = _resume(run, model, start.snapshot, verbose)
    command, adapted = start.command, start.adapted
    if run.started:  # its devices may be others than before
        stored = run.read_config()
        command, begun_with = stored["command"], begun_with or stored.get("begun_with")
        adapted = stored.get("adapted")
    data.save_vocabularies(run.vocabulary_file, run.target_vocabulary_file)
    run.write_config(dataclasses.replace(config, resume=False), spec.to_json(), command, begun_with, adapted)
    if plan:
        private_training.keep_key(plan, run)
    if start.source:  # from here on the run needs no other
        checkpoints.save(run.checkpoints, memory.to_snapshot(step, checkpoints.capture(model)))

    # Executions of our own, or those of Keras, which divide an epoch.
    own = on_tensorflow() and config.strategy not in ("tpu", *strategies.STEP_BY_STEP)
    model.steps_per_execution = stride = 1 if own else _stride(config.steps_per_execution, steps, step)
    gathered = task.gathered(config, data, config.batch_size) if own and not plan else None
    executions = Executions(
        config.steps_per_execution, steps=steps, done=step, every=config.checkpoint_every, gathered=gathered
    )
    began = time.perf_counter()
    saver = Checkpointer(
        run,
        memory,
        start=step,
        steps=steps,
        stride=stride,
        executions=executions,
        every=config.checkpoint_every,
        metrics=arrays if step % steps else None,
        strategy=strategy,
    )
    progress = Progress(config.epochs, steps, step % steps, stride)
    callbacks = [
        *task.callbacks(config, run, data),
        Recorder(run, memory, config.early_stopping, config.keep == "best" and not config.average, task.rank, plain),
        *averaging.callbacks(config, run, memory, plain),
        saver,
        Clock(memory, config.batch_size * stride),
        *([progress] if verbose else []),
        *_tensorboard(run),
        *more_callbacks,
    ]
    validation = task.validation_batches(data, stride) if len(data.validation) else None
    thaw = layerwise.unfreezing(plain, config, order, rates, verbose) if config.unfreeze_every else None
    if thaw:
        undo.callback(thaw, model, config.epochs)
    with undo, stopped_by_signals(saver), contextlib.closing(progress):
        for stop in _stops(config, steps, step, total):
            if step < stop and not memory.stopped:
                if thaw:
                    thaw(model, step // steps)
                if own:
                    executions.install(model)
                model.fit(
                    _counted(step, stop) if gathered else _spread(batches(step, stop), config, strategy),
                    initial_epoch=step // steps,
                    epochs=-(-stop // steps),
                    steps_per_epoch=min(stop - step, steps),
                    validation_data=validation,
                    callbacks=callbacks,
                    shuffle=False,  # the order is the dataset's
                    verbose=0,
                )
                step = stop
        model.steps_per_execution = 1
        averaged = None
        if config.average:
            averaging.take(model, memory, batches(0, min(steps, -(-averaging.EXAMPLES // config.batch_size))))
            held_out = task.validation_batches(data, 1) if len(data.validation) else None
            averaged = model.evaluate(held_out, return_dict=True, verbose=0) if held_out is not None else {}
    seconds = time.perf_counter() - began
    promised = private_training.record(plan, model, len(memory.history)) if plan else None
    result = _finish(config, run, data, plain, memory, averaged, promised, finished, seconds)
    run.key_file.unlink(missing_ok=True)
    return result


def _stops(config: TrainConfig, steps: int, step: int, total: int) -> list[int]:
    """Return where calls of `fit` end: the rest of an epoch that was interrupted, then where more layers train."""
    rest = min(-(-step // steps) * steps, total)
    stage = config.unfreeze_every * steps
    return sorted({rest, total, *(range(stage, total, stage) if stage else ())})


def _over_replicas(compiled: dict[str, Any]) -> dict[str, Any]:
    """Let losses and metrics that compare the examples of a batch see those of all replicas."""
    for part in keras.tree.flatten(compiled):
        if hasattr(part, "gather") and on_tensorflow():  # on JAX a batch is whole, however many devices share it
            part.gather = collective.of_all_replicas
    return compiled


def _stride(most: int, steps: int, done: int) -> int:
    """Return how many steps one execution has: the most that divide an epoch, and what of it was done before."""
    whole = math.gcd(steps, done)
    return max(n for n in range(1, min(most, whole) + 1) if whole % n == 0)


def _batch_size(config: TrainConfig, strategy: Any) -> int:
    """Return the examples of a step among those that this process reads."""
    return config.batch_size // (collective.workers(strategy) if config.shard == "files" else 1)


def _counted(start: int, stop: int) -> Any:
    """Return what `fit` counts steps by, where they gather their batches themselves."""
    import tensorflow as tf

    return tf.data.Dataset.range(start, stop)


def _spread(batches: Any, config: TrainConfig, strategy: Any) -> Any:
    """Return batches that `fit` does not divide among the workers again, where each has made its own."""
    return strategy.distribute_datasets_from_function(lambda _: batches) if config.shard == "files" else batches


def _check_same_data(strategy: Any, data: Dataset, shard: str) -> None:
    """Raise UsageError unless all workers have the same examples, of which each has a part of those to train on."""
    if collective.workers(strategy) == 1:
        return
    digest = hashlib.sha256()
    for split in (*([data.train] if shard == "data" else []), data.validation, data.test):
        digest.update(np.ascontiguousarray(split.x).data)
        digest.update(np.ascontiguousarray(split.y).data)
    found = collective.gather(strategy, np.frombuffer(digest.digest()[:8], np.int64))
    if others := [str(worker) for worker, theirs in enumerate(found) if theirs != found[0]]:
        raise UsageError(
            f"{data.spec.name}: expected the same examples on every worker; worker {', '.join(others)} has others than"
            " the chief"
        )


@contextlib.contextmanager
def _named_if_lost(strategy: Any) -> Iterator[None]:
    """Turn what TensorFlow raises where another worker is gone into one sentence."""
    if collective.workers(strategy) == 1:
        yield
        return
    import tensorflow as tf

    errors = tf.errors
    gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
    try:
        yield
    except (*gone, errors.InternalError) as error:
        raise Failed(
            f"another worker was lost ({' '.join(error.message.split())[:120]}); start all of them again with --resume"
        ) from error


def _tensorboard(run: RunFolder) -> list[keras.callbacks.Callback]:
    """Return Keras' callback, which writes through TensorFlow, where that is."""
    if importlib.util.find_spec("tensorflow") is None:
        return []
    with backend.quiet(), contextlib.suppress(RuntimeError):  # RuntimeError: it runs already
        devices = importlib.import_module("tensorflow").config
        if not on_tensorflow():
            devices.set_visible_devices([], "GPU")  # or it takes their memory from JAX
        devices.list_logical_devices()
    return [keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False, profile_batch=0)]


def _snapshot(config, strategy, run, verbose) -> checkpoints.Snapshot | None:
    """Return what a training goes on from, the same on every worker; None where it starts."""
    snapshot, damaged = checkpoints.newest(run.checkpoints) if config.resume else (None, [])
    for sentence in damaged:
        print(f"{sentence}; using the one before it", file=sys.stderr)
    if collective.workers(strategy) > 1:  # all go on from where the chief does
        snapshot = checkpoints.unpacked(collective.broadcast(strategy, checkpoints.packed(snapshot)))
    if snapshot is None and verbose and config.resume:
        print(f"no whole checkpoint in {run.checkpoints}: starting from the first step", file=sys.stderr)
    return snapshot


def _resume(run, model, snapshot, verbose) -> tuple[int, Memory, dict[str, np.ndarray] | None]:
    """Return (global steps done, memory, arrays of the snapshot), with the model's variables as they were."""
    if snapshot is None:
        return 0, Memory(), None
    checkpoints.restore(model, snapshot.arrays)
    if verbose:
        print(f"continuing {run.path} after step {snapshot.step}", file=sys.stderr)
    return snapshot.step, Memory.from_snapshot(snapshot), snapshot.arrays


def _finish(config, run, data, model, memory, averaged, promised, finished, seconds) -> TrainResult:
    kept = len(memory.history) - 1
    if config.keep == "best" and memory.best_weights:
        kept = memory.best_epoch
        for variable, value in zip(model.variables, memory.best_weights, strict=True):
            variable.assign(value)
    model = finished(model) if finished else model
    row = memory.history[kept]
    validation = {k.removeprefix("val_"): v for k, v in row.items() if k.startswith("val_")}
    snapshots = [sha256(run.snapshot_file(number)) for number in range(1, config.snapshots + 1)]
    found = {
        "validation": validation if averaged is None else averaged,
        "train": {k: v for k, v in row.items() if not k.startswith(("val_", "epoch", "learning_rate"))},
        **tasks.of(data.spec.task).remarks(memory.history),
        **({"snapshots": snapshots} if snapshots else {}),
        **({"private": promised} if promised else {}),
        "epoch": kept + 1,
        "epochs": len(memory.history),
        "seconds": round(seconds, 2),
        "examples_per_second": round(memory.timed_examples / memory.train_seconds) if memory.train_seconds else None,
    }
    sections = [private_training.section(promised)] if promised else []
    metrics = finish(run, config, data, model, found, memory.history, sections)
    return TrainResult(run, metrics, memory.history, model)


def _check_disk(run: RunFolder, model: keras.Model) -> None:
    """Raise UsageError if the run's files will not fit, before any work is done."""
    need = COPIES_ON_DISK * sum(int(np.prod(v.shape)) * 4 for v in model.variables)
    run.path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run.path).free
    if free < need:
        raise UsageError(
            f"--output {run.path}: disk full: this run writes about {need / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"
        )
