"""Learning-rate schedules, registered with Keras because a saved optimizer refers to its schedule."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, then decay with the square root of the step (Vaswani et al., 2017, section 5.3).

    The paper's peak is (model_dim * warmup_steps) ** -0.5.

    Args:
        peak: Learning rate at `warmup_steps`.
        warmup_steps: Number of steps until the peak, 1 or more.
    """

    def __init__(self, peak: float, warmup_steps: int):
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        share = (ops.cast(step, "float32") + 1) / self.warmup_steps  # the first step is 0
        return self.peak * ops.minimum(share, share**-0.5)

    def get_config(self) -> dict:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}
