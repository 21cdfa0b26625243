"""From a configuration to a Keras optimizer: AdamW, SGD or Adagrad, warm-up and decay, clipping."""

from collections.abc import Sequence

import keras

from zoo.config.train_config import TrainConfig
from zoo.objectives.optimizers import AdamW, ScaledAdagrad, ScaledAdamW, ScaledSGD
from zoo.objectives.schedules import InverseSquareRoot

# Sutskever et al. (2013); the value that most recipes use.
MOMENTUM = 0.9
# Decay is for kernels: a bias, a normalisation's or a softmax's scale has nothing to gain from being small.
NOT_DECAYED = ("bias", "gamma", "beta", "log_scale")
# With one learning rate for all variables, and with one for each.
_KINDS = {
    "adamw": (AdamW, ScaledAdamW),
    "adagrad": (keras.optimizers.Adagrad, ScaledAdagrad),
    "sgd": (keras.optimizers.SGD, ScaledSGD),
}


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


def optimizer(config: TrainConfig, steps: int, rates: Sequence[float] = ()) -> keras.optimizers.Optimizer:
    """Return the optimizer of a run of `steps` steps; call it inside the strategy's scope.

    Args:
        config: of the run.
        steps: of the whole training.
        rates: Factor of the learning rate of each trainable variable, see `zoo.training.layerwise.rates`; default, 1.
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
        # AdamW insists on a number; 0 leaves plain Adam.
        arguments |= {"weight_decay": config.weight_decay, "beta_1": config.beta_1}
    elif config.optimizer == "adagrad":
        # From nothing, as Duchi et al. (2011) have it: against Keras' 0.1 the gradients of a large softmax are nothing.
        arguments |= {"initial_accumulator_value": 0.0, "epsilon": 1e-20}
    else:
        arguments |= {"momentum": MOMENTUM, "nesterov": True}
    plain, scaled = _KINDS[config.optimizer]
    chosen = (scaled if rates else plain)(**arguments)
    chosen.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if ema:
        # `fit` would put the average in the weights' place as it ends, also inside a training that goes on after it.
        chosen.finalize_variable_values = lambda variables: None
    return chosen
