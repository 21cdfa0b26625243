"""From a configuration and the form of its data to a built model; what does not fit together is refused."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from zoo import tasks
from zoo.config import attacks, privacy, registry, task_facts
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec
from zoo.objectives.adversarial import Attacked, Withstanding


def check_kind(config: TrainConfig, spec: DataSpec) -> None:
    """Raise UsageError if the model does not take this kind of data, or learns something else from it."""
    if (learns := registry.entry(config.model).task) != spec.task:
        raise UsageError(
            f"--model {config.model}: learns {learns}, and {spec.name} is for {spec.task}; models for it are"
            f" {', '.join(registry.names(spec.task))}"
        )
    takes = registry.entry(config.model).inputs
    if spec.kind not in takes:
        others = [name for name in registry.names(spec.task) if spec.kind in registry.entry(name).inputs]
        raise UsageError(
            f"--model {config.model}: takes {' or '.join(takes)} inputs, and {spec.name} gives {spec.kind};"
            f" models for it are {', '.join(others) or 'none'}"
        )
    if not task_facts.of(spec.task).classifies:
        return
    labelled = bool(tasks.of(spec.task).arguments(config, spec).get("return_sequences"))
    if labelled != spec.per_step:
        have, want = ("a step", "a sequence") if spec.per_step else ("a sequence", "a step")
        raise UsageError(f"--model {config.model}: gives one label {want}, and {spec.name} has one {have}")


def maker(config: TrainConfig, spec: DataSpec, model: Any) -> Callable[[], keras.Model]:
    """Return a function that makes the model to train, called inside the strategy's scope.

    Args:
        config: names a model of the zoo.
        spec: of the data.
        model: one's own instead, or a function that makes it, or None.

    Raises:
        UsageError: a model of the zoo that is not for such data.
    """
    if model is None:
        check_kind(config, spec)
        return functools.partial(registry.model_class(config.model), **tasks.of(spec.task).arguments(config, spec))
    return functools.partial(_in_scope, model, config.strategy) if isinstance(model, keras.Model) else model


def _in_scope(model: keras.Model, strategy: str) -> keras.Model:
    """Return the model itself, or where the strategy has a scope, which we are in, its copy with the same weights."""
    if strategy == "none":
        return model
    copy = type(model).from_config(model.get_config())
    if not copy.built:
        copy.build_from_config(model.get_build_config())
    copy.set_weights(model.get_weights())
    return copy


def built(make: Callable[[], keras.Model], spec: DataSpec) -> keras.Model:
    """Make and build the model; a size it cannot take is the user's to change."""
    try:
        model = make()
        if not model.built:
            model.build(tasks.of(spec.task).build_shape(spec))
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    return model


def check_attack(config: TrainConfig, spec: DataSpec) -> None:
    """Raise UsageError unless the attack that is trained against can be made on these data."""
    if config.adversarial:
        attack = attacks.parse(config.adversarial)
        attacks.check_inputs(f"--adversarial with {spec.name}", spec.task, spec.kind, spec.per_step)
        attacks.check_range(f"--adversarial {attack.word}: eps", attack.eps, spec.kind)


def check_private(config: TrainConfig, data: Dataset) -> None:
    """Raise UsageError unless what is promised of these data can be kept."""
    if config.private:
        spec = data.spec
        privacy.check_inputs(f"--private with {spec.name}", spec.task, spec.kind, spec.per_step)
        privacy.check_examples(privacy.parse(config.private), len(data.train))


def fitted(config: TrainConfig, spec: DataSpec, model: keras.Model) -> keras.Model:
    """Return what `fit` trains: the model, or where it is to withstand an attack, that around it."""
    if not config.adversarial:
        return model
    attack = attacks.parse(config.adversarial)
    return Withstanding(attacked(attack, spec, model))


def attacked(attack: attacks.Attack, spec: DataSpec, model: keras.Model) -> Attacked:
    """Return an attack on a model that takes such data."""
    return Attacked(model, attack.eps, attack.size, attack.steps, attacks.PIXELS if spec.kind == "image" else None)
