"""`train`: the loop in which a model, a task, data and a strategy meet.

What a training can do beyond a plain `fit` is in `zoo.training.capabilities`. The loop names no capability: it asks for
the active ones and calls their hooks, in the order that `zoo.training.capabilities.base` describes.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import strategies
from strategies import collective
from strategies.keras_fit import prepared
from zoo import tasks
from zoo.config.train_config import TrainConfig, check_divisible
from zoo.data import Dataset, reading
from zoo.data.batches import streamed
from zoo.data.dataset import steps_per_epoch
from zoo.runs.folder import RunFolder, check_beginning
from zoo.system.signals import stopped_by_signals
from zoo.tasks.base import Task
from zoo.training import capabilities, layerwise, optimization, starting
from zoo.training.building import built, maker, over_replicas, own_name
from zoo.training.callbacks import Checkpointer, Clock, Progress, Recorder, tensorboard
from zoo.training.capabilities import Start, Training
from zoo.training.data import check_data, facts, load_data, recorded, with_filled_batch
from zoo.training.finishing import finish
from zoo.training.normalisation import fused
from zoo.training.numerics import numerics


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Args:
        run: Run folder; that of a worker other than the chief may no longer exist.
        metrics: Content of metrics.json.
        history: Rows of history.csv, one for each epoch.
        model: Model with its final weights.
    """

    run: RunFolder
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    model: keras.Model


def train(
    config: TrainConfig,
    *,
    model: keras.Model | Callable[[], keras.Model] | None = None,
    data: Dataset | None = None,
    task: Task | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    finished: Callable[[keras.Model], keras.Model] | None = None,
    private: Path | None = None,
    command: list[str] | None = None,
    adapted: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> TrainResult:
    """Train a model with `fit` inside the strategy's scope, and write its run folder.

    Args:
        config: Configuration; options left None have the default settings of the model and the data set.
        model: Own model that gives logits, or a function that returns it and is called inside the strategy's scope. A
            model that is already built is copied with its weights if the strategy needs it made inside its scope. By
            default `config.model` with `config.settings`.
        data: Own data in place of those of the configuration; see `zoo.data.from_tf_data`.
        task: What the model is trained for, by default the task of the data.
        callbacks: Further callbacks, called after those of the run.
        finished: Function from the trained model to the one that is saved and measured; the identity by default.
        private: Run folder of a worker other than the chief; a temporary one by default.
        command: Words of the command line, for config.json.
        adapted: Record of `zoo.sizing.adaptation.adapted`, for config.json, if it found a part of the configuration.
        verbose: Whether to show progress on standard error.

    Raises:
        UsageError: Data, options or an output folder that do not fit together; raised before training starts.
        strategies.StrategyError: The strategy cannot run here.
        Diverged: A loss or a weight is not finite.
        Interrupted: A signal was received; a checkpoint was written.
        Failed: Another worker was lost.
    """
    batch_was_chosen = config.batch_size is not None
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
    with starting.run_folder(config, strategy, private) as run:
        data = recorded(data or load_data(config, own_model=model is not None))
        config = config if batch_was_chosen else with_filled_batch(config, data)
        task = task or tasks.of(data.spec.task)
        training = Training(config, strategy, run, data, task, verbose and not collective.worker(strategy))
        training.own_model = None if model is None else own_name(model)
        make = _checked(training, model)
        training.origin = starting.origin(training)
        training.start = Start(starting.newest_snapshot(training), command or [], adapted)
        for capability in training.capabilities:
            capability.prepare()
        training.steps = config.steps_per_epoch or steps_per_epoch(len(training.data.train), training.batch_size)
        if training.verbose:
            reading.tell(data.reading)
        starting.accept(training)
        # Outermost, before the seed is set: on JAX the model is built once to find the split of its kernels.
        arranged = strategies.arranged(strategy, lambda: built(make, data.spec, task))
        with arranged, numerics(config), run.lock(), contextlib.ExitStack() as around:
            for capability in training.capabilities:
                around.enter_context(capability.around())
            around.enter_context(streamed.told())
            seconds = _fit(training, make, callbacks)
            return _finish(training, finished, seconds)


def _checked(training: Training, model: keras.Model | Callable[[], keras.Model] | None) -> Callable[[], keras.Model]:
    """Refuse options, data and a model that do not fit together; return the function that makes the model."""
    check_data(training.config, training.data)
    training.task.check(training.config, training.data)
    training.capabilities = capabilities.active(training)
    for capability in training.capabilities:
        capability.check()
    return maker(training.config, training.data.spec, training.task, model)


def _fit(training: Training, make: Callable[[], keras.Model], callbacks: Sequence[keras.callbacks.Callback]) -> float:
    """Build, compile and train the model; return the seconds that training took."""
    with contextlib.ExitStack() as around:
        with training.strategy.scope():  # variables of metrics and the optimizer belong to it as well
            _build(training, make)
            around.enter_context(fused(training.model))
            around.enter_context(prepared(training.model, training.batches(0, 1)))
        starting.check_disk(training)
        arrays = starting.restore(training)
        starting.write_config(training)
        starting.tell_size(training)
        for capability in training.capabilities:
            capability.started()
        began = time.perf_counter()
        saver, progress, others = _callbacks(training, arrays)
        around.enter_context(stopped_by_signals(saver))
        around.enter_context(contextlib.closing(progress))
        for capability in training.capabilities:
            around.enter_context(capability.around_fit())
        _epochs(training, [*others, *callbacks])
    return time.perf_counter() - began


def _build(training: Training, make: Callable[[], keras.Model]) -> None:
    """Build the model, let capabilities change and wrap it, and compile it."""
    config, spec, task = training.config, training.data.spec, training.task
    training.plain = training.model = built(make, spec, task)
    for capability in training.capabilities:
        capability.begin()
    for capability in training.capabilities:
        training.model = capability.wrap(training.model)
    rates = layerwise.own_rates(training.plain)
    for capability in training.capabilities:
        rates = capability.rates(rates)
    optimizer = optimization.optimizer(config, training.total, rates)
    training.model.compile(optimizer=optimizer, **over_replicas(task.compiled_with(config, spec)))


def _callbacks(
    training: Training, arrays: dict[str, np.ndarray] | None
) -> tuple[Checkpointer, Progress, list[keras.callbacks.Callback]]:
    """Return the callback that saves, the one that shows progress, and all callbacks in the order of their calls.

    Args:
        training: Training after `started`.
        arrays: Arrays of the checkpoint that it resumes from.
    """
    config, run, memory, task = training.config, training.run, training.memory, training.task
    active, steps, step = training.capabilities, training.steps, training.step
    keep_best = config.keep == "best" and all(capability.keeps_best for capability in active)
    saver = Checkpointer(
        run,
        memory,
        start=step,
        steps=steps,
        stride=training.stride,
        ahead=lambda: sum(capability.ahead for capability in active),
        every=config.checkpoint_every,
        metrics=arrays if step % steps else None,
        strategy=training.strategy,
        origin=training.origin,
    )
    progress = Progress(config.epochs, steps, step % steps, training.stride)
    return (
        saver,
        progress,
        [
            *task.callbacks(config, run, training.data),
            Recorder(run, memory, config.early_stopping, keep_best, task.rank, training.plain),
            *(callback for capability in active for callback in capability.callbacks()),
            saver,
            Clock(memory, config.batch_size * training.stride),
            *([progress] if training.verbose else []),
            *tensorboard(run),
        ],
    )


def _epochs(training: Training, callbacks: list[keras.callbacks.Callback]) -> None:
    """Call `fit` for the epochs that are left, in as many parts as an interruption or a capability asks for."""
    steps = training.steps
    validation, validation_steps = training.held_out(training.stride)
    for stop in training.stops():
        if training.step < stop and not training.memory.stopped:
            for capability in training.capabilities:
                capability.before_fit()
            training.model.fit(
                training.feed(training.step, stop),
                initial_epoch=training.step // steps,
                epochs=-(-stop // steps),
                steps_per_epoch=min(stop - training.step, steps),
                validation_data=validation,
                validation_steps=validation_steps,
                callbacks=callbacks,
                shuffle=False,  # the batches are in order
                verbose=0,
            )
            training.step = stop


def _finish(training: Training, finished: Callable[[keras.Model], keras.Model] | None, seconds: float) -> TrainResult:
    """Take the weights of the best epoch, measure the model, and write its files."""
    config, model, memory = training.config, training.plain, training.memory
    kept = max(len(memory.history) - 1, 0)
    if config.keep == "best" and memory.best_weights:
        kept = memory.best_epoch
        for variable, value in zip(model.variables, memory.best_weights, strict=True):
            variable.assign(value)
    model = finished(model) if finished else model
    training.task.concluded(model, training.data)
    row = memory.history[kept] if memory.history else {}
    found = {
        "validation": {k.removeprefix("val_"): v for k, v in row.items() if k.startswith("val_")},
        "train": {k: v for k, v in row.items() if not k.startswith(("val_", "epoch", "learning_rate"))},
        **(training.task.remarks(memory.history) if row else {}),
        "epoch": kept + 1 if row else 0,
        "epochs": len(memory.history),
        "seconds": round(seconds, 2),
        "examples_per_second": round(memory.timed_examples / memory.train_seconds) if memory.train_seconds else None,
    }
    for capability in training.capabilities:
        found |= capability.record()
    sections = [section for capability in training.capabilities for section in capability.sections(found)]
    metrics = finish(training.run, config, training.data, training.task, model, found, memory.history, sections)
    for capability in training.capabilities:
        capability.finished(metrics)
    return TrainResult(training.run, metrics, memory.history, model)
