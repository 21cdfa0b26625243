"""A side of `python -m benchmarks gpu`: a model of the zoo on JAX, compiled and trained as `zoo.train` does there."""

from typing import Any

from benchmarks.gpu_sizes import RATE, Network
from benchmarks.timing import peak_memory, timed


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Measure training steps; runs in the side's process.

    Args:
        job: Network, and whether it has to run on a GPU.
    """
    from strategies import backend

    backend.start("jax")
    import jax

    network, device = Network(**job["network"]), jax.devices()[0]
    if network.precision == "float32":
        jax.config.update("jax_default_matmul_precision", "float32")  # otherwise TF32
    model, batch = _example(network)
    variables = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    state = tuple([v.value for v in group] for group in (*variables, model.metrics_variables))
    parameters = sum(v.value.size for v in model.trainable_variables)
    compiled = jax.jit(model.train_step, donate_argnums=0).lower(state, batch).compile()

    def step() -> None:
        nonlocal state
        logs, state = compiled(state, batch)
        jax.block_until_ready((logs, state))

    measured = timed(step)
    return {
        **measured,
        "memory": device.memory_stats()["peak_bytes_in_use"] if job["on_gpu"] else peak_memory(),
        "device": device.device_kind if job["on_gpu"] else "CPU",
        "framework": f"jax {jax.__version__}",
        "parameters": parameters,
        "xla_flops": compiled.cost_analysis()["flops"],
    }


def _example(network: Network) -> tuple[Any, tuple[Any, ...]]:
    """Return the compiled model, and a batch of random numbers."""
    import jax
    import keras
    import numpy as np

    from strategies.keras_fit import build_for_fit
    from zoo import tasks
    from zoo.config import registry
    from zoo.config.train_config import TrainConfig
    from zoo.training import optimization
    from zoo.training.building import built, maker

    keras.config.set_dtype_policy("mixed_bfloat16" if network.precision == "bfloat16" else network.precision)
    config = TrainConfig(
        model=network.model,
        settings=network.settings,
        batch_size=network.batch,
        learning_rate=RATE,
        weight_decay=0.0,
        clip_norm=0.0,
        label_smoothing=0.0,
        schedule="constant",
        warmup=0.0,
    ).resolved()
    task, rng = tasks.of(registry.entry(network.model).task), np.random.default_rng(0)
    spec = task.example_spec(tuple(network.shape), network.classes)
    model = built(maker(config, spec, task), spec, task)
    model.compile(optimization.optimizer(config, 1000), **task.compiled_with(config, spec))
    shapes = task.example_batch(config, spec, network.batch)
    build_for_fit(model, shapes)

    def numbers(x: Any) -> Any:
        if x.dtype == "int32":
            return rng.integers(1, network.classes, x.shape, np.int32)
        return rng.random(x.shape, np.float32) if len(x.shape) > 2 else np.ones(x.shape, np.float32)

    return model, jax.device_put(keras.tree.map_structure(numbers, shapes))
