"""Compression by stock TF-MOT on tf_keras following its guides, as a baseline for this project.

The model and its four epochs are those of the guide `pruning_with_keras`. Every other stage starts from a copy of that
trained model, and has the schedule, learning rate, batch size and epochs of its guide: `pruning_with_keras` (80 %),
`clustering_example` (16 clusters), `pqat_example` (50 %), `cqat_example` (8 clusters) and `pcqat_example` (50 %, then 8
clusters). The first two are exported by full-integer quantization with 8-bit input and output. The other three are
exported as in their guides, which keeps float32 input and output.

Two details differ from the guides. The input shape is (28, 28, 1), which avoids a Reshape of about one kilobyte in each
file. All stages share one trained model, whereas the guides train separate ones for four or ten epochs.

`python -m benchmarks.stock_tfmot DATA.npz SEED FOLDER` needs the package `tensorflow-model-optimization` and a separate
process: TF-MOT works with Keras 2 only, and TensorFlow cannot switch Keras versions within a process. Accuracy, zeros
and distinct values are read from the .tflite files by the code that also writes receipts.
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
FINE_TUNING = 1e-5  # small learning rate that several guides use for fine-tuning
KERNELS = {4: "convolution", 2: "dense"}  # kind of layer by the rank of its kernel
Stage = tuple[bytes, float]  # content of the file, and seconds of training since the copy


class Examples(NamedTuple):
    """Training or test examples."""

    x: np.ndarray
    y: np.ndarray


def run(data: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Train and export every stage, and return the results.

    Args:
        data: An .npz file with x_train, (n, 28, 28, 1) uint8, y_train, x_test and y_test.
        seed: Random seed of the first training, and of every stage.
        folder: Folder to write the .tflite files to.
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
    """Return a copy with separate variables, because TF-MOT's wrappers train those of the original model."""
    from tf_keras.models import clone_model

    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _fit(
    model: Any, train: Examples, epochs: int, batch_size: int = 32, rate: float = 1e-3, callbacks: tuple = ()
) -> float:
    """Train a model as all guides do, and return the seconds of training."""
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
    """Return a full-integer file, calibrated on the first training examples."""
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
    """Return the pruned model that PQAT and PCQAT start from, and the seconds of training."""
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
    """Return the file of a model after quantization-aware training with a scheme, and the total seconds of training."""
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
    """Return accuracy, size, zeros and distinct values of a file."""
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
