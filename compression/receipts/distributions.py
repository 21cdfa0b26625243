"""Distributions of the weights of a model in float32, which a page draws beside those of its file."""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from compression.receipts.quantiles import summary
from compression.surgery.copying import copies
from compression.surgery.folding import fold_batch_norms
from compression.surgery.layers import kernels_of, with_kernels
from zoo.console.errors import UsageError
from zoo.introspection.layers import layers_of

# As many of the largest kernels as a page shows, and a half.
KERNELS = 18


def quantiles(model: keras.Model, examples: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the size and the quantiles of each of the largest kernels, by the path of the layer.

    Batch normalisations are folded into the kernels before them, as they are in the file.

    Args:
        model: Built model, which is not changed.
        examples: A few inputs of the model.
    """
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers_of(model)):
        with contextlib.suppress(UsageError):  # it cannot be copied: its kernels are shown as they are
            model = copies(model, examples)()
            fold_batch_norms(model, examples)
    kernels = [(path, kernel) for path, layer in with_kernels(model).items() for kernel in kernels_of(layer)]
    kernels.sort(key=lambda pair: -int(np.prod(pair[1].shape)))
    found: dict[str, list[dict[str, Any]]] = {}
    for path, kernel in kernels[:KERNELS]:
        found.setdefault(path, []).append(summary(ops.convert_to_numpy(kernel)))
    return found
