"""Attribution of a model's score to the parts of its input: gradients, Grad-CAM, integrated gradients.

A score is a weighted sum of the model's outputs. The score of a class is its logit. All methods work for any built
model, on TensorFlow and on JAX.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from zoo.console.errors import UsageError, unknown
from zoo.introspection.hooks import Call, calls_of, giving
from zoo.introspection.layers import layers_of
from zoo.runs.inference import as_floats

CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D)
ACTIVATIONS = (layers.Activation, layers.LeakyReLU, layers.ReLU)
# Layers that belong to the map of the convolution before them, because they do not mix positions.
POINTWISE = (*ACTIVATIONS, layers.BatchNormalization, layers.Dropout)

# Number of points on the path of integrated gradients that are computed at once.
BATCH = 64


@dataclass(frozen=True)
class Score:
    """A differentiable score.

    Args:
        function: Function from a tensor (batch, ...) to scores (batch,).
        at: Points at which it is evaluated, (examples, ...): the inputs, or the embeddings of their tokens.
        vectors: Whether the last axis of `at` is not an axis of attributions, such as the channels of an image or the
            embedding of a token.
    """

    function: Callable[[Any], Any]
    at: np.ndarray
    vectors: bool


def of_class(logits: Sequence[int], target: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Return the weights of logits in the score of a class: 1 for the class, 0 for the others.

    Args:
        logits: Shape of the logits, (examples, classes) or (examples, time, classes).
        target: Class indices, (examples,) or (examples, time). The scores of several steps are added.
        counted: Whether a step counts, (examples, time).
    """
    chosen = np.zeros(logits, np.float32)
    np.put_along_axis(chosen, np.asarray(target)[..., None], 1, axis=-1)
    return chosen if counted is None else chosen * counted[..., None]


def score(model: keras.Model, x: np.ndarray, chosen: np.ndarray) -> Score:
    """Return the score of a model as a function of its input, or of the embeddings of its tokens.

    Args:
        model: Built model with one input and one output.
        x: Examples, (examples, ...) floats or (examples, time) token ids.
        chosen: Weights of the outputs in the score, with their shape, see `of_class`.

    Raises:
        UsageError: No embedding layer takes the token ids directly.
    """
    if np.issubdtype(x.dtype, np.floating):
        return Score(lambda given: _weighted(model(given, training=False), chosen), x, x.ndim == 4)
    call, use = _embedding(model, x)

    def of_vectors(vectors: Any) -> Any:
        ids = ops.convert_to_tensor(np.broadcast_to(x, (vectors.shape[0], *x.shape[1:])))
        with giving(call.layer, vectors, use):
            return _weighted(model(ids, training=False), chosen)

    return Score(of_vectors, as_floats(call.output), True)


def with_gradient(function: Callable[[Any], Any]) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """Return a function that gives the value of another, (batch,), and its gradient, shaped as the argument.

    Args:
        function: Function from a tensor (batch, ...) to (batch,), where each value depends on its own example alone.
    """
    if keras.backend.backend() == "jax":
        import jax

        def total(at: Any) -> tuple[Any, Any]:
            with keras.StatelessScope():
                values = function(at)
            return ops.sum(values), values

        compiled = jax.jit(
            jax.value_and_grad(total, has_aux=True)
        )  # compiled once for each shape, much faster than single operations

        def on_jax(at: Any) -> tuple[np.ndarray, np.ndarray]:
            (_, values), gradient = compiled(ops.convert_to_tensor(at))
            return as_floats(values), as_floats(gradient)

        return on_jax
    import tensorflow as tf

    def on_tensorflow(at: Any) -> tuple[np.ndarray, np.ndarray]:
        at = ops.convert_to_tensor(at)
        with tf.GradientTape() as tape:
            tape.watch(at)
            values = function(at)
        gradient = tape.gradient(values, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return as_floats(values), as_floats(gradient)

    return on_tensorflow


def saliency(of: Score) -> np.ndarray:
    """Return the absolute gradient of the score, its maximum over channels or embeddings (Simonyan et al., 2014).

    Returns:
        (examples, height, width), (examples, features), (examples, time, features), or for tokens (examples, time).
    """
    size = np.abs(with_gradient(of.function)(of.at)[1])
    return size.max(-1) if of.vectors else size


def gradient_x_input(of: Score) -> np.ndarray:
    """Return the gradient times the input, summed over channels or embeddings (Shrikumar et al., 2016).

    For a linear score without a bias these are the exact contributions. Shapes are as of `saliency`.
    """
    shares = with_gradient(of.function)(of.at)[1] * of.at
    return shares.sum(-1) if of.vectors else shares


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of one example.

    Args:
        attributions: Contributions to the change of the score, shaped as one example of `saliency`.
        score: Score of the example.
        baseline_score: Score of the baseline.
        error: Sum of the attributions minus the change of the score, ideally 0.
        steps: Number of steps on the path.
        complete: Whether the error is within the tolerance.
    """

    attributions: np.ndarray
    score: float
    baseline_score: float
    error: float
    steps: int
    complete: bool


def integrated_gradients(of: Score, *, steps: int = 16, most: int = 1024, tolerance: float = 0.01) -> Integrated:
    """Attribute the change of a score from a baseline of zeros to the parts of an input (Sundararajan et al., 2017).

    The integral along the straight path is computed by the trapezoidal rule. The step size is halved, reusing earlier
    points, until the attributions add up to the change of the score.

    Args:
        of: Score of one example.
        steps: Initial number of steps.
        most: Maximum number of steps.
        tolerance: Allowed difference of the sum, relative to the change of the score.
    """
    (point,), gradient = of.at.astype(np.float64), with_gradient(of.function)
    ends = np.where(np.arange(steps + 1) % steps == 0, 0.5, 1)
    values, mean = _along(gradient, of.at, np.linspace(0, 1, steps + 1), ends / steps)
    change = float(values[-1] - values[0])
    while True:
        shares = mean * point
        error = float(shares.sum() - change)
        complete = abs(error) <= tolerance * abs(change)
        if complete or 2 * steps > most:
            break
        between = (np.arange(steps) + 0.5) / steps
        mean = (mean + _along(gradient, of.at, between, np.full(steps, 1 / steps))[1]) / 2
        steps *= 2
    attributions = shares.sum(-1) if of.vectors else shares
    return Integrated(attributions, float(values[-1]), float(values[0]), error, steps, complete)


def _along(
    gradient: Callable, at: np.ndarray, shares: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores at these shares of the path from zeros, and the weighted sum of their gradients, in float64."""
    values, total = [], np.zeros(at.shape[1:])
    for start in range(0, len(shares), BATCH):
        part = slice(start, start + BATCH)
        found, gradients = gradient((shares[part].reshape(-1, *[1] * (at.ndim - 1)) * at).astype(at.dtype))
        values.append(found.astype(np.float64))
        total += np.tensordot(weights[part], gradients.astype(np.float64), 1)
    return np.concatenate(values), total


class FeatureMap(NamedTuple):
    """The feature map of a convolution, after normalisation and activation if they follow.

    Attributes:
        layer: Layer that outputs the map.
        use: Index of the call of that layer.
        output: Map.
        activation: Activation that follows only after a max pool and is not part of `output`. A monotone activation
            before the pool would have given the same values.
    """

    layer: layers.Layer
    use: int
    output: Any
    activation: Callable[[Any], Any]


def feature_maps(model: keras.Model, x: np.ndarray) -> dict[str, FeatureMap]:
    """Return the feature maps of a model's convolutions by their names, in the order of computation.

    Args:
        model: Built model.
        x: Images, (examples, height, width, channels).
    """
    watched = (*CONVOLUTIONS, *POINTWISE, layers.MaxPooling2D)
    seen = calls_of(model, x, [layer for layer in _layers(model) if isinstance(layer, watched)])
    found: dict[str, FeatureMap] = {}
    for i, call in enumerate(seen):
        if isinstance(call.layer, CONVOLUTIONS):
            name, count = call.layer.name, 1
            while name in found:
                count += 1
                name = f"{call.layer.name}#{count}"
            found[name] = _behind(seen, i)
    return found


def last_map(found: Mapping[str, FeatureMap]) -> str:
    """Return the name of the last feature map that has more than one position."""
    wide = [name for name, each in found.items() if max(each.output.shape[1:3]) > 1]
    return [*found, *wide][-1]


def grad_cam(model: keras.Model, x: np.ndarray, chosen: np.ndarray, layer: str | None = None) -> np.ndarray:
    """Return the Grad-CAM of a score at a convolution (Selvaraju et al., 2017).

    The channels of the feature map are weighted by the mean gradient of the score, added, and rectified.

    Args:
        model: Built model, channels last.
        x: Images, (examples, height, width, channels).
        chosen: Weights of the outputs in the score, see `of_class`.
        layer: Name of the convolution. Default: the last whose map has more than one position.

    Returns:
        Map with the size of the feature map, (examples, rows, columns).

    Raises:
        UsageError: A model without convolutions, or no convolution of this name.
    """
    found = feature_maps(model, x)
    if not found:
        raise UsageError(f"Grad-CAM: expected a model with a convolution, {model.name} has none")
    if layer is not None and layer not in found:
        raise unknown("convolution", layer, found)
    each = found[layer or last_map(found)]

    def of_map(output: Any) -> Any:
        with giving(each.layer, output, each.use):
            return _weighted(model(x, training=False), chosen)

    weights = with_gradient(of_map)(each.output)[1].mean((1, 2), keepdims=True)
    return np.maximum((weights * as_floats(each.activation(each.output))).sum(-1), 0)


def _behind(seen: Sequence[Call], index: int) -> FeatureMap:
    """Return the feature map of the convolution that a call belongs to."""
    last = index
    for i in range(index + 1, len(seen)):
        if isinstance(seen[i].layer, POINTWISE) and seen[i].inputs[0] is seen[last].output:
            last = i
    layer, _, output = seen[last]
    pooled = [c.output for c in seen if isinstance(c.layer, layers.MaxPooling2D) and c.inputs[0] is output]
    behind = [c.layer for c in seen if isinstance(c.layer, ACTIVATIONS) and any(c.inputs[0] is y for y in pooled)]
    use = sum(call.layer is layer for call in seen[:last])
    return FeatureMap(layer, use, output, behind[0] if behind else lambda value: value)


def _embedding(model: keras.Model, ids: np.ndarray) -> tuple[Call, int]:
    """Return the call of the embedding layer that takes the ids, and the number of earlier calls of that layer."""
    embeddings = [layer for layer in _layers(model) if isinstance(layer, layers.Embedding)]
    seen = calls_of(model, ops.convert_to_tensor(ids), embeddings)
    for i, call in enumerate(seen):
        if call.inputs[0].shape == ids.shape and np.array_equal(ops.convert_to_numpy(call.inputs[0]), ids):
            return call, sum(other.layer is call.layer for other in seen[:i])
    raise UsageError(f"model {model.name}: expected an embedding layer that takes the tokens, found none")


def _layers(model: keras.Model) -> list[layers.Layer]:
    return layers_of(model)


def _weighted(outputs: Any, chosen: np.ndarray) -> Any:
    """Return the weighted sum of each example's outputs, (batch,)."""
    counted = outputs * ops.cast(chosen, outputs.dtype)
    return ops.sum(ops.reshape(counted, (counted.shape[0], -1)), axis=1)
