"""Features of a classifier, the inputs of its output layer, computed once; and an output layer fitted on them."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

from zoo.console.errors import UsageError
from zoo.data import Split
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of
from zoo.introspection.variables import named
from zoo.runs.inference import logits_of
from zoo.training import layerwise

# Inverse strengths of the L2 penalty that are tried, for features that are divided by their deviations.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
STEPS = 500


class Fitted(NamedTuple):
    """An output layer.

    Attributes:
        kernel: Weights (features, classes).
        bias: Biases (classes,).
        strength: Inverse strength of the penalty that was chosen.
        accuracy: Share of right answers on the split that it was chosen by.
        judged: Name of that split.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    accuracy: float
    judged: str


def output_layer(model: keras.Model, order: layerwise.Order) -> keras.layers.Dense:
    """Return the Dense layer that gives the logits of a model.

    Args:
        model: Built model.
        order: Its layers in the order of their use.

    Raises:
        UsageError: The model ends in another layer.
    """
    names = {id(variable): name for name, variable in named(model).items()}
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.Dense) and {names[id(v)] for v in layer.weights} == set(order.groups[-1]):
            return layer
    raise UsageError(f"--probe: expected a model whose last layer is Dense, {model.name} ends in {order.groups[-1]}")


def of(model: keras.Model, head: keras.layers.Dense, split: Split) -> np.ndarray:
    """Return what the output layer of a model receives for the examples of a split, (examples, features)."""
    model.predict_function = None  # it was traced with the output layer
    with calling(head, lambda x, training=None: x):
        found = logits_of(model, split)
    model.predict_function = None
    return found


def fit(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray], classes: int) -> Fitted:
    """Fit a logistic regression with an L2 penalty, whose strength is chosen by the validation examples.

    Args:
        x: Features of the splits train and, for the choice, validation.
        y: Class ids of the same splits.
        classes: Number of classes; those without an example get the least likely bias.
    """
    import threadpoolctl
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x["train"].mean(0), x["train"].std(0)
    scale = 1 / np.maximum(deviation, 1e-6 * max(float(deviation.max()), 1e-12))
    judged = "validation" if "validation" in x else "train"
    seen, asked = ((x[split] - mean) * scale for split in ("train", judged))
    regression = LogisticRegression(max_iter=STEPS, warm_start=True)  # from the strongest penalty to the weakest
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    # Products of this size take longer when threads wait for each other.
    with threadpoolctl.threadpool_limits(1, "blas"):
        for strength in STRENGTHS:
            regression.set_params(C=strength).fit(seen, y["train"])
            accuracy = float(regression.score(asked, y[judged]))
            if best is None or accuracy > best[0]:
                best = (accuracy, strength, regression.coef_.copy(), regression.intercept_.copy())
    accuracy, strength, weights, biases = best
    if len(regression.classes_) == 2:  # scikit-learn keeps the logit of the second class alone
        weights, biases = np.vstack([-weights / 2, weights / 2]), np.concatenate([-biases / 2, biases / 2])
    kernel, bias = np.zeros((x["train"].shape[1], classes)), np.full(classes, biases.min() - 10.0)
    kernel[:, regression.classes_] = weights.T * scale[:, None]
    bias[regression.classes_] = biases - (mean * scale) @ weights.T
    return Fitted(kernel.astype("float32"), bias.astype("float32"), strength, accuracy, judged)
