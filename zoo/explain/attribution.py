"""Which part of an input a model's score comes from, for any built model: gradients, Grad-CAM, integrated gradients.

A score is a weighted sum of the model's outputs: of one class, its logit. Everything runs on TensorFlow and on JAX.
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

CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D)
ACTIVATIONS = (layers.Activation, layers.LeakyReLU, layers.ReLU)
# Behind a convolution they belong to its map: no position is mixed with another.
POINTWISE = (*ACTIVATIONS, layers.BatchNormalization, layers.Dropout)

# Points that are computed at once on the way of integrated gradients.
BATCH = 64


@dataclass(frozen=True)
class Score:
    """A score as a function of something that has a gradient.

    Args:
        function: of a tensor (batch, ...) to scores (batch,).
        at: (examples, ...), where the function is looked at: the inputs, or the vectors of their tokens.
        vectors: whether the last axis of `at` is no axis of the input: the channels of an image, the vector of a token.
    """

    function: Callable[[Any], Any]
    at: np.ndarray
    vectors: bool


def of_class(logits: Sequence[int], target: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Return what makes a score of logits: 1 at a class, 0 elsewhere.

    Args:
        logits: their shape, (examples, classes) or (examples, time, classes).
        target: (examples,) or (examples, time) class indices. The score of several steps is the sum of theirs.
        counted: (examples, time), false at steps that are left out.
    """
    chosen = np.zeros(logits, np.float32)
    np.put_along_axis(chosen, np.asarray(target)[..., None], 1, axis=-1)
    return chosen if counted is None else chosen * counted[..., None]


def score(model: keras.Model, x: np.ndarray, chosen: np.ndarray) -> Score:
    """Return the score of a model as a function of its input, or of the vectors that embed its tokens.

    Args:
        model: built, of one input and one output.
        x: (examples, ...) as the model takes them: floats, or token ids (examples, time).
        chosen: of the shape of the model's output, what each number of it counts, see `of_class`.

    Raises:
        UsageError: token ids that no embedding layer is given as they are.
    """
    if np.issubdtype(x.dtype, np.floating):
        return Score(lambda given: _weighted(model(given, training=False), chosen), x, x.ndim == 4)
    call, use = _embedding(model, x)

    def of_vectors(vectors: Any) -> Any:
        ids = ops.convert_to_tensor(np.broadcast_to(x, (vectors.shape[0], *x.shape[1:])))
        with giving(call.layer, vectors, use):
            return _weighted(model(ids, training=False), chosen)

    return Score(of_vectors, numbers(call.output), True)


def with_gradient(function: Callable[[Any], Any]) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """Return what gives function(at), (batch,), and its gradient, shaped as `at`: all that the engines do differently.

    Args:
        function: of a tensor (batch, ...) to (batch,), each of which depends on its own example alone.
    """
    if keras.backend.backend() == "jax":
        import jax

        def total(at: Any) -> tuple[Any, Any]:
            with keras.StatelessScope():
                values = function(at)
            return ops.sum(values), values

        compiled = jax.jit(jax.value_and_grad(total, has_aux=True))  # once for each shape; one by one, operations lag

        def on_jax(at: Any) -> tuple[np.ndarray, np.ndarray]:
            (_, values), gradient = compiled(ops.convert_to_tensor(at))
            return numbers(values), numbers(gradient)

        return on_jax
    import tensorflow as tf

    def on_tensorflow(at: Any) -> tuple[np.ndarray, np.ndarray]:
        at = ops.convert_to_tensor(at)
        with tf.GradientTape() as tape:
            tape.watch(at)
            values = function(at)
        gradient = tape.gradient(values, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return numbers(values), numbers(gradient)

    return on_tensorflow


def saliency(of: Score) -> np.ndarray:
    """Return how much the score changes with each part of the input: the gradient's absolute value.

    Of several channels, or numbers of a token's vector, it is the largest (Simonyan et al., 2014).

    Returns:
        (examples, height, width), (examples, features), (examples, time, features), or of tokens (examples, time).
    """
    size = np.abs(with_gradient(of.function)(of.at)[1])
    return size.max(-1) if of.vectors else size


def gradient_x_input(of: Score) -> np.ndarray:
    """Return the gradient times the input, summed over channels (Shrikumar et al., 2016); shapes as of `saliency`.

    Of a linear score without a bias, that is each part's share.
    """
    shares = with_gradient(of.function)(of.at)[1] * of.at
    return shares.sum(-1) if of.vectors else shares


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of one example.

    Args:
        attributions: each part's share of the change, shaped as one example of `saliency`.
        score: at the example.
        baseline_score: at the baseline.
        error: what the attributions sum up to, less the change of the score, which they would be exactly.
        steps: of the way.
        complete: whether the error is within the tolerance.
    """

    attributions: np.ndarray
    score: float
    baseline_score: float
    error: float
    steps: int
    complete: bool


def integrated_gradients(of: Score, *, steps: int = 16, most: int = 1024, tolerance: float = 0.01) -> Integrated:
    """Share the change of a score from a baseline of zeros among the parts of an input (Sundararajan et al., 2017).

    The integral along the straight way is taken by the trapezoidal rule. Its steps are halved, which keeps the points
    there are, until the attributions sum up to the change.

    Args:
        of: of one example.
        steps: to begin with.
        most: steps after which no more are added.
        tolerance: share of the change that the sum may differ from it by.
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
    """Return scores at these shares of the way from zeros, and the weighed sum of the gradients there, in float64."""
    values, total = [], np.zeros(at.shape[1:])
    for start in range(0, len(shares), BATCH):
        part = slice(start, start + BATCH)
        found, gradients = gradient((shares[part].reshape(-1, *[1] * (at.ndim - 1)) * at).astype(at.dtype))
        values.append(found.astype(np.float64))
        total += np.tensordot(weights[part], gradients.astype(np.float64), 1)
    return np.concatenate(values), total


class FeatureMap(NamedTuple):
    """The map behind a convolution: given by the `use`-th call of a layer, which is it or normalises or activates it.

    An activation that comes only behind a max pool is `activation`, and not in `output` yet: before the pool a monotone
    one would have given the model the same values.
    """

    layer: layers.Layer
    use: int
    output: Any
    activation: Callable[[Any], Any]


def feature_maps(model: keras.Model, x: np.ndarray) -> dict[str, FeatureMap]:
    """Return the feature maps of a model's convolutions by their names, in the order in which they are computed.

    Args:
        model: built.
        x: (examples, height, width, channels).
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
    """Return where the score comes from, as seen by a convolution (Grad-CAM: Selvaraju et al., 2017).

    Each channel of the feature map weighs what the score's gradient to it is on average; what is below 0 is left out.

    Args:
        model: built, channels last.
        x: (examples, height, width, channels).
        chosen: of the shape of the model's output, what each number of it counts, see `of_class`.
        layer: the convolution; default, the last whose map has more than one position.

    Returns:
        (examples, rows, columns) of the feature map.

    Raises:
        UsageError: a model without convolutions, or no convolution of this name.
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
    return np.maximum((weights * numbers(each.activation(each.output))).sum(-1), 0)


def _behind(seen: Sequence[Call], index: int) -> FeatureMap:
    """Return the feature map of the convolution that a call is of."""
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
    """Return the call of the embedding layer that is given the ids as they are, and how many came before it."""
    embeddings = [layer for layer in _layers(model) if isinstance(layer, layers.Embedding)]
    seen = calls_of(model, ops.convert_to_tensor(ids), embeddings)
    for i, call in enumerate(seen):
        if call.inputs[0].shape == ids.shape and np.array_equal(ops.convert_to_numpy(call.inputs[0]), ids):
            return call, sum(other.layer is call.layer for other in seen[:i])
    raise UsageError(f"model {model.name}: expected an embedding layer that is given the tokens, found none")


def _layers(model: keras.Model) -> list[layers.Layer]:
    return layers_of(model)


def _weighted(outputs: Any, chosen: np.ndarray) -> Any:
    """Return (batch,), the sum of each example's outputs times what they count."""
    counted = outputs * ops.cast(chosen, outputs.dtype)
    return ops.sum(ops.reshape(counted, (counted.shape[0], -1)), axis=1)


def numbers(tensor: Any) -> np.ndarray:
    """Return a tensor as an array, in float32 or float64."""
    value = ops.convert_to_numpy(tensor)
    return np.asarray(value, np.result_type(value.dtype, "float32"))
