"""The stock route, to be measured beside ours: TF-MOT on tf_keras, as its own guides do it.

The model and its four epochs are those of the guide `pruning_with_keras`. Every other stage starts from a copy of that
trained model, and has the schedule, rate, batch and epochs of its guide: `pruning_with_keras` (80 %),
`clustering_example` (16 clusters), `pqat_example` (50 %), `cqat_example` (8 clusters) and `pcqat_example` (50 %, then 8
clusters). The first two are exported by full-integer quantization, with 8-bit input and output; the other three as
their guides do it, which keeps float32 input and output.

Unlike in the guides, the model takes (28, 28, 1) and so begins without a Reshape, which would cost every file about a
kilobyte, and all stages share one trained model; the guides train theirs for four or ten epochs.

`python -m benchmarks.stock_tfmot DATA.npz SEED FOLDER` needs the package `tensorflow-model-optimization`, and a process
of its own: TF-MOT works with Keras 2 only, and TensorFlow takes one Keras for good. Accuracy, zeros and distinct values
are read from the .tflite files by the code that also makes our receipts.
"""

import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compression.flatbuffers import flatbuffer
from compression.runtime import litert

CALIBRATION = 256
FINE_TUNING = 1e-5  # the rate of every guide that fine-tunes with a small one
KERNELS = {4: "convolution", 2: "dense"}  # by the number of their dimensions
Stage = tuple[bytes, float]  # content of the file, seconds of training since the copy


class Examples(NamedTuple):
    """The training examples."""

    x: np.ndarray
    y: np.ndarray


def run(data: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Train and export every stage, and return its numbers.

    Args:
        data: .npz with x_train (n, 28, 28, 1) uint8, y_train, x_test and y_test.
        seed: of the first training, and again of every stage.
        folder: the .tflite files are kept in it.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras as keras

    with np.load(data) as arrays:
        train = Examples(arrays["x_train"].astype(np.float32) / 255, arrays["y_train"])
        test = Examples(arrays["x_test"].astype(np.float32) / 255, arrays["y_test"])
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    model = _model()
    seconds = _fit(model, train, epochs=4)
    rows = []
    for name, stage in STAGES.items():
        keras.utils.set_random_seed(seed)
        content, more = stage(_copy(model), train)
        file = folder / f"{name}.tflite"
        file.write_bytes(content)
        rows.append({"stage": name, **_measured(file, test), "seconds": more})
        print(rows[-1], file=sys.stderr, flush=True)
    return {"seed": seed, "training_seconds": seconds, "stages": rows}


def _model() -> Any:
    from tf_keras import Sequential, layers

    return Sequential(
        [
            layers.InputLayer((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def _copy(model: Any) -> Any:
    """Return a model of its own variables: TF-MOT's wrappers train those of the model that they are given."""
    from tf_keras.models import clone_model

    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _fit(
    model: Any, train: Examples, epochs: int, batch_size: int = 32, rate: float = 1e-3, callbacks: tuple = ()
) -> float:
    """Train a model as all guides do, and return the seconds of it."""
    import tf_keras as keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    began = time.perf_counter()
    model.fit(*train, batch_size=batch_size, epochs=epochs, validation_split=0.1, callbacks=list(callbacks), verbose=0)
    return time.perf_counter() - began


def _converter(model: Any) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter


def _integers(model: Any, train: Examples) -> bytes:
    """Return a file of integers only, scaled by what the first training examples show."""
    import tensorflow as tf

    def examples() -> Iterator[list[np.ndarray]]:
        for x in train.x[:CALIBRATION]:
            yield [x[None]]

    converter = _converter(model)
    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def _float32(model: Any, train: Examples) -> Stage:
    converter = _converter(model)
    converter.optimizations = []
    return converter.convert(), 0.0


def _int8(model: Any, train: Examples) -> Stage:
    return _integers(model, train), 0.0


def _pruned_80(model: Any, train: Examples) -> Stage:
    from tensorflow_model_optimization import sparsity

    batch_size, epochs = 128, 2
    end = int(np.ceil(len(train.x) * 0.9 / batch_size)) * epochs
    schedule = sparsity.keras.PolynomialDecay(0.5, 0.8, begin_step=0, end_step=end)
    model, seconds = _pruned(model, train, schedule, epochs=epochs, batch_size=batch_size)
    return _integers(model, train), seconds


def _pruned_50(model: Any, train: Examples) -> tuple[Any, float]:
    """Return the pruned model that both PQAT and PCQAT begin with."""
    from tensorflow_model_optimization import sparsity

    schedule = sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=100)
    return _pruned(model, train, schedule, epochs=3, rate=FINE_TUNING)


def _pruned(model: Any, train: Examples, schedule: Any, **fit: Any) -> tuple[Any, float]:
    from tensorflow_model_optimization import sparsity

    model = sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
    seconds = _fit(model, train, callbacks=(sparsity.keras.UpdatePruningStep(),), **fit)
    return sparsity.keras.strip_pruning(model), seconds


def _clustered_16(model: Any, train: Examples) -> Stage:
    from tensorflow_model_optimization import clustering

    linear = clustering.keras.CentroidInitialization.LINEAR
    model = clustering.keras.cluster_weights(model, number_of_clusters=16, cluster_centroids_init=linear)
    seconds = _fit(model, train, epochs=1, batch_size=500, rate=FINE_TUNING)
    return _integers(clustering.keras.strip_clustering(model), train), seconds


def _pqat(model: Any, train: Examples) -> Stage:
    from tensorflow_model_optimization.python.core.api.experimental import combine

    model, seconds = _pruned_50(model, train)
    return _quantized(model, train, combine.Default8BitPrunePreserveQuantizeScheme(), seconds)


def _cqat(model: Any, train: Examples) -> Stage:
    from tensorflow_model_optimization import clustering
    from tensorflow_model_optimization.python.core.api.experimental import combine

    model = clustering.keras.cluster_weights(
        model,
        number_of_clusters=8,
        cluster_centroids_init=clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        cluster_per_channel=True,
    )
    seconds = _fit(model, train, epochs=3, rate=FINE_TUNING)
    scheme = combine.Default8BitClusterPreserveQuantizeScheme()
    return _quantized(clustering.keras.strip_clustering(model), train, scheme, seconds)


def _pcqat(model: Any, train: Examples) -> Stage:
    from tensorflow_model_optimization import clustering
    from tensorflow_model_optimization.python.core.api.experimental import combine
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    model, seconds = _pruned_50(model, train)
    model = cluster.cluster_weights(
        model,
        number_of_clusters=8,
        cluster_centroids_init=clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        preserve_sparsity=True,
    )
    seconds += _fit(model, train, epochs=3)
    scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True)
    return _quantized(clustering.keras.strip_clustering(model), train, scheme, seconds)


def _quantized(model: Any, train: Examples, scheme: Any, seconds: float) -> Stage:
    """Return the file of a model trained for integers under a scheme, and all seconds of training."""
    from tensorflow_model_optimization import quantization

    model = quantization.keras.quantize_apply(quantization.keras.quantize_annotate_model(model), scheme)
    seconds += _fit(model, train, epochs=1, batch_size=128)
    return _converter(model).convert(), seconds


STAGES: dict[str, Callable[[Any, Examples], Stage]] = {
    "float32": _float32,
    "int8": _int8,
    "pruned_80_int8": _pruned_80,
    "clustered_16_int8": _clustered_16,
    "pqat": _pqat,
    "cqat": _cqat,
    "pcqat": _pcqat,
}


def _measured(file: Path, test: Examples) -> dict[str, Any]:
    """Return the numbers of a file, as it is stored."""
    content = file.read_bytes()
    kernels = [row for row in flatbuffer.constants(flatbuffer.read(file)) if len(row["shape"]) in KERNELS]
    return {
        "accuracy": float((litert.run(file, test.x).argmax(-1) == test.y).mean()),
        "bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
        "zeros": sum(row["zeros"] for row in kernels) / sum(row["elements"] for row in kernels),
        "distinct": {KERNELS[len(row["shape"])]: row["distinct"] for row in kernels},
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
