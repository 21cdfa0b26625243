"""`python -m strategies.tpu_check MODEL`: compile a model's train step for a slice of TPUs, without one.

It reports whether the step compiles and fits, its operations and the communication of its chips. Nothing is run.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from strategies import backend, jax_devices, tpu
from zoo.config import registry
from zoo.config.options import option

# The only module of this package that imports the zoo: for its models, and for the behaviour of its commands.
from zoo.console import cli
from zoo.console.errors import Failed, UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `python -m strategies.tpu_check`."""

    model: str = option("name of a model in `python -m zoo.list models`", positional=True)
    topology: str = option("generation and slice of TPUs: v5e or v6e, and 1x1 to 16x16", "v5e:2x4")
    batch_size: int = option("number of examples in one step over all chips (the global batch)", 1024)
    input_shape: tuple[int, ...] | None = option(
        "shape of one example (default: 28,28,1, for texts 128 tokens)", None, metavar="N[,N...]"
    )
    classes: int | None = option("number of classes (default: 10), or of tokens or entities (default: 10000)")
    precision: Literal["bfloat16", "float32"] = option("precision of the computation; weights are float32", "bfloat16")
    settings: Mapping[str, Any] = option("constructor argument of the model", None, name="set", metavar="NAME=VALUE")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the train step, and return what it needs."""
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
            f" {chip.memory / 1e9:.0f} GB; use a smaller --batch-size or more chips"
        )
    return result


def example(name: str, settings: Mapping[str, Any], options: Options) -> tuple[Any, tuple[Any, ...]]:
    """Return a compiled model of the zoo on JAX, and the shapes of a batch."""
    import jax
    import keras

    from strategies.keras_fit import build_for_fit
    from zoo import tasks
    from zoo.config.train_config import TrainConfig

    keras.config.set_dtype_policy("mixed_bfloat16" if options.precision == "bfloat16" else "float32")
    task, config = tasks.of(registry.entry(name).task), TrainConfig(model=name, settings=settings, label_smoothing=0.0)
    spec = task.example_spec(options.input_shape, options.classes)
    model = registry.model_class(name)(**task.arguments(config, spec))
    model.build(task.build_shape(spec))
    model.compile(keras.optimizers.AdamW(1e-3), **task.compiled_with(config, spec))
    tensors = task.example_batch(config, spec, options.batch_size)
    batch = keras.tree.map_structure(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tensors)
    build_for_fit(model, batch)
    return model, batch


def show(result: Mapping[str, Any]) -> None:
    """Print what the step needs of each chip."""
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
    print("compiled but not run: this shows that the step fits, not its results or its speed")


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m strategies.tpu_check",
    description="Compile a model's train step for a slice of TPUs on this machine, and report its needs for each chip.",
)


if __name__ == "__main__":
    sys.exit(main())
