"""The Keras optimizer of a configuration: AdamW, SGD or Adagrad, warm-up and decay, clipping."""

from collections.abc import Sequence

import keras

from zoo.config.train_config import TrainConfig
from zoo.objectives.optimizers import AdamW, ScaledAdagrad, ScaledAdamW, ScaledSGD
from zoo.objectives.schedules import InverseSquareRoot

# The usual value since Sutskever et al. (2013).
MOMENTUM = 0.9
# Only kernels are decayed: biases and the scales of normalisations or of a softmax do not gain from being small.
NOT_DECAYED = ("bias", "gamma", "beta", "log_scale")
# Optimizers with one learning rate for all variables, and with one for each.
_KINDS = {
    "adamw": (AdamW, ScaledAdamW),
    "adagrad": (keras.optimizers.Adagrad, ScaledAdagrad),
    "sgd": (keras.optimizers.SGD, ScaledSGD),
}


def learning_rate(config: TrainConfig, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate: cosine cycles for snapshots, or a linear warm-up followed by `config.schedule`.

    Args:
        config: Configuration of the training.
        steps: Number of steps of the whole training.
    """
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


def optimizer(config: TrainConfig, steps: int, rates: Sequence[float] = ()) -> keras.optimizers.Optimizer:
    """Return the optimizer of a training; call it inside the strategy's scope.

    Args:
        config: Configuration of the training.
        steps: Number of steps of the whole training.
        rates: Factor of the learning rate of each trainable variable, see `zoo.training.layerwise`; 1 by default.
    """
    arguments = {
        "learning_rate": learning_rate(config, steps),
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm or None,
    }
    ema = config.averaging is not None and config.averaging[0] == "ema"
    if ema:
        arguments |= {"use_ema": True, "ema_momentum": config.averaging[1]}
    if rates:
        arguments |= {"rates": rates}
    if config.optimizer == "adamw":
        # AdamW requires a number; with 0 it is plain Adam.
        arguments |= {"weight_decay": config.weight_decay, "beta_1": config.beta_1}
    elif config.optimizer == "adagrad":
        # From zero, as in Duchi et al. (2011): the gradients of a large softmax are tiny against the 0.1 of Keras.
        arguments |= {"initial_accumulator_value": 0.0, "epsilon": 1e-20}
    else:
        arguments |= {"momentum": MOMENTUM, "nesterov": True}
    plain, scaled = _KINDS[config.optimizer]
    chosen = (scaled if rates else plain)(**arguments)
    chosen.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if ema:
        # `fit` would replace the weights by the average whenever it ends, also before a training continues.
        chosen.finalize_variable_values = lambda variables: None
    return chosen
