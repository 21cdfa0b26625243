"""From a configuration to a Keras optimizer: AdamW, SGD or Adagrad, warm-up and decay, clipping."""

from collections.abc import Mapping

import keras

from zoo.config import TrainConfig
from zoo.errors import UsageError
from zoo.models.optimizers import ScaledAdamW
from zoo.models.schedules import InverseSquareRoot

# Sutskever et al. (2013); the value that most recipes use.
MOMENTUM = 0.9
# Decay is for kernels: a bias, a normalisation's or a softmax's scale has nothing to gain from being small.
NOT_DECAYED = ("bias", "gamma", "beta", "log_scale")


def learning_rate(config: TrainConfig, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the rate over `steps` steps: cycles, or linear from zero to the peak, then as `config.schedule` says."""
    if config.snapshots:
        return keras.optimizers.schedules.CosineDecayRestarts(
            config.learning_rate, steps // config.snapshots, t_mul=1.0
        )
    warmup = round(config.warmup * steps)
    if config.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else config.learning_rate,
            decay_steps=max(steps - warmup, 1),
            warmup_target=config.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    if config.schedule == "inverse_sqrt":
        return InverseSquareRoot(config.learning_rate, max(warmup, 1))
    if not warmup:
        return config.learning_rate
    return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, config.learning_rate)


def optimizer(config: TrainConfig, steps: int, rates: Mapping[str, float] | None = None) -> keras.optimizers.Optimizer:
    """Return the optimizer of a run of `steps` steps; call it inside the strategy's scope.

    Args:
        config: of the run.
        steps: of the whole training.
        rates: parts of the model that learn at another rate, see `ScaledAdamW`.

    Raises:
        UsageError: such parts, and an optimizer that has one rate for all.
    """
    if rates and config.optimizer != "adamw":
        raise UsageError(
            f"--optimizer {config.optimizer}: expected adamw for a model with two learning rates"
            f" ({', '.join(rates)}), received one that has a single rate; or --set"
            " discriminator_rate=1"
        )
    common = {
        "learning_rate": learning_rate(config, steps),
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm or None,
    }
    ema = config.averaging is not None and config.averaging[0] == "ema"
    if ema:
        common |= {"use_ema": True, "ema_momentum": config.averaging[1]}
    if config.optimizer == "adamw":
        # AdamW insists on a number; 0 leaves plain Adam.
        common |= {"weight_decay": config.weight_decay, "beta_1": config.beta_1}
        chosen = ScaledAdamW(rates=dict(rates), **common) if rates else keras.optimizers.AdamW(**common)
    elif config.optimizer == "adagrad":
        # From nothing, as Duchi et al. (2011) have it: against Keras' 0.1 the gradients of a large softmax are nothing.
        chosen = keras.optimizers.Adagrad(initial_accumulator_value=0.0, epsilon=1e-20, **common)
    else:
        chosen = keras.optimizers.SGD(momentum=MOMENTUM, nesterov=True, **common)
    chosen.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if ema:
        # `fit` would put the average in the weights' place as it ends, also inside a training that goes on after it.
        chosen.finalize_variable_values = lambda variables: None
    return chosen
