"""`python -m strategies.tpu_check MODEL`: compile a model's train step for a slice of TPUs, without one.

Says whether it compiles and fits, what it computes and what its chips exchange. Nothing is run.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from strategies import backend, jax_devices, tpu
from zoo.config import registry
from zoo.config.options import option

# A model's name is the zoo's to know, and a command's manners are its as well: this command alone looks there.
from zoo.console import cli
from zoo.console.errors import Failed, UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compile, and for what."""

    model: str = option("a name of `python -m zoo.list models`", positional=True)
    topology: str = option("generation and slice: v5e or v6e, and 1x1 to 16x16", "v5e:2x4")
    batch_size: int = option("examples in one step over all chips (the global batch)", 1024)
    input_shape: tuple[int, ...] | None = option(
        "of one example (default: 28,28,1; of texts 128 tokens)", None, metavar="N[,N...]"
    )
    classes: int | None = option("labels of the data (default: 10), or tokens (default: 10000)")
    precision: Literal["bfloat16", "float32"] = option("what is computed in; weights are float32", "bfloat16")
    settings: Mapping[str, Any] = option("a constructor argument of the model", None, name="set", metavar="NAME=VALUE")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compile, and return what the step needs."""
    options = Options(**given)
    settings = registry.parse_settings(options.model, options.settings or {})
    generation, chips = tpu.parse_topology(options.topology)
    if options.batch_size < 1 or options.batch_size % chips:
        raise UsageError(
            f"--batch-size {options.batch_size}: expected a multiple of the {chips} chips of {options.topology}"
        )
    jax_devices.check_installed("tpu")
    tpu.use_compiler()
    backend.start("jax")
    with backend.quiet():
        model, batch = example(options.model, settings, options)
        needs = tpu.compile_step(model, batch, options.topology)
    chip = tpu.CHIPS[generation]
    result = {
        "model": options.model,
        "topology": options.topology,
        "batch_size": options.batch_size,
        "precision": options.precision,
        **needs.to_json(),
        "memory_of_chip": chip.memory,
        "fits": needs.memory <= chip.memory,
        "least_seconds": tpu.least_seconds(needs, chip),
    }
    if not result["fits"]:
        raise Failed(
            f"{options.model} does not fit: it needs {needs.memory / 1e9:.2f} GB of each chip, {generation} has"
            f" {chip.memory / 1e9:.0f} GB; take a smaller --batch-size or more chips"
        )
    return result


def example(name: str, settings: Mapping[str, Any], options: Options) -> tuple[Any, tuple[Any, ...]]:
    """Return a compiled model of the zoo on JAX, and the shapes of a batch."""
    import keras

    from strategies.keras_fit import build_for_fit
    from zoo import tasks
    from zoo.config.train_config import TrainConfig

    keras.config.set_dtype_policy("mixed_bfloat16" if options.precision == "bfloat16" else "float32")
    spec = _spec(name, options)
    task, config = tasks.of(spec.task), TrainConfig(model=name, settings=settings, label_smoothing=0.0)
    model = registry.model_class(name)(**task.arguments(config, spec))
    model.build(task.build_shape(spec))
    model.compile(keras.optimizers.AdamW(1e-3), **task.compiled_with(config, spec))
    batch = _batch(config, spec, options.batch_size)
    build_for_fit(model, batch)
    return model, batch


def _spec(name: str, options: Options) -> Any:
    """Return the form of data that a model takes."""
    from zoo.data import DataSpec

    task = registry.entry(name).task
    if task == "classification":
        shape = options.input_shape or (28, 28, 1)
        kind = {1: "vector", 2: "sequence"}.get(len(shape), "image")
        return DataSpec("tpu_check", kind, shape, tuple(map(str, range(options.classes or 10))))
    if task == "generation":
        return DataSpec("tpu_check", "image", options.input_shape or (28, 28, 1), ("0", "1"), task=task)
    if task == "link_prediction":
        entities = tuple(map(str, range(options.classes or 10_000)))
        return DataSpec("tpu_check", "triples", (2,), entities, task=task, relations=("0",))
    if task == "contrastive":
        captions = {"target_shape": (16,), "vocabulary_size": options.classes or 10_000}
        return DataSpec("tpu_check", "image", options.input_shape or (28, 28, 1), (), task=task, **captions)
    shape, tokens = options.input_shape or (128,), options.classes or 10_000
    pairs = task == "translation"
    target = (shape[0] + 1,) if pairs else shape
    kind = "pairs" if pairs else "tokens"
    return DataSpec("tpu_check", kind, shape, (), not pairs, tokens, task, target, tokens)


def _batch(config: Any, spec: Any, size: int) -> tuple[Any, ...]:
    """Return the shapes of (x, y), or of (x, y, weights) where the labels are tokens."""
    import jax

    if spec.task in ("generation", "link_prediction"):
        return _made(config, spec, size)
    x = jax.ShapeDtypeStruct((size, *spec.input_shape), spec.input_dtype)
    if spec.task == "classification":
        return x, jax.ShapeDtypeStruct((size,), "int32")
    if spec.task == "contrastive":
        ids = jax.ShapeDtypeStruct((size, *spec.target_shape), "int32")
        return (x, ids), jax.ShapeDtypeStruct((size,), "int32")
    return (x, x) if spec.task == "translation" else x, x, jax.ShapeDtypeStruct(x.shape, "float32")


def _made(config: Any, spec: Any, size: int) -> tuple[Any, ...]:
    """Return the shapes of a batch that a task makes of examples, such as noise beside images."""
    import jax
    import keras
    import numpy as np

    from zoo import tasks
    from zoo.data import Dataset, Split

    dtype = np.uint8 if spec.kind == "image" else np.int32
    few = Split(np.zeros((size, *spec.input_shape), dtype), np.zeros(size, np.int32))
    batch = tasks.of(spec.task).training_batches(config, Dataset(spec, few, few, few), size, 0, 1)[0]
    return keras.tree.map_structure(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)


def show(result: Mapping[str, Any]) -> None:
    """Print what a step needs of each chip."""
    least = result["least_seconds"]
    print(
        f"{result['model']} compiles for {result['topology']} ({result['chips']} chips, {result['precision']},"
        f" global batch {result['batch_size']:,}) in {result['seconds']} s"
    )
    share = result["memory"] / result["memory_of_chip"]
    print(
        f"memory of each chip: {result['memory'] / 1e6:.1f} MB of {result['memory_of_chip'] / 1e9:.0f} GB ({share:.2%})"
    )
    print(f"compute of each chip and step: {result['flops'] / 1e9:.2f} GFLOP, at least {least['compute'] * 1e6:.1f} us")
    print(f"memory traffic: {result['memory_traffic'] / 1e6:.1f} MB, at least {least['memory'] * 1e6:.1f} us")
    for kind, (count, size) in result["collectives"].items():
        print(f"{kind}: {count} of {size / 1e6:.3f} MB together")
    print(f"all-reduce: at least {least['all_reduce'] * 1e6:.1f} us by the links' published bandwidth")
    print("compiled, not run: this proves that it fits, not its numbers and not its speed")


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m strategies.tpu_check",
    description="Compile a model's train step for a slice of TPUs on this machine, and say what it needs of each chip.",
)


if __name__ == "__main__":
    sys.exit(main())
