"""From a configuration and the form of its data to a built model; what does not fit together is refused."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from zoo import registry
from zoo.config import TrainConfig
from zoo.data import DataSpec
from zoo.errors import UsageError


def model_arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of `config.model` for data of this form."""
    known = registry.arguments(config.model)
    if spec.task == "language_model":
        return {**config.settings, "vocabulary_size": spec.vocabulary_size}
    if spec.task == "translation":
        found = {
            "source_vocabulary_size": spec.vocabulary_size,
            "target_vocabulary_size": spec.target_vocabulary_size,
            "shared_vocabulary": spec.vocabulary_sha256 == spec.target_vocabulary_sha256,
        }
        return {**config.settings, **{name: value for name, value in found.items() if name in known}}
    arguments = {**config.settings, "num_classes": spec.num_classes}
    if "vocabulary_size" in known:
        arguments["vocabulary_size"] = spec.vocabulary_size
    if spec.per_step and "return_sequences" in known:
        arguments["return_sequences"] = True
    return arguments


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
            f" models for it are {', '.join(others)}"
        )
    if spec.task != "classification":
        return
    labelled = bool(model_arguments(config, spec).get("return_sequences"))
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
        return functools.partial(registry.model_class(config.model), **model_arguments(config, spec))
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
            model.build(build_shape(spec))
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    return model


def build_shape(spec: DataSpec) -> Any:
    """Return what a model of such data is built for: of pairs two shapes, the target's without its last token."""
    if spec.task == "translation":
        return [(None, *spec.input_shape), (None, spec.target_shape[0] - 1)]
    return (None, *spec.input_shape)
