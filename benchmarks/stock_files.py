"""Files that a user of the TFLite converter or of LiteRT Quantizer would make of a model, in a child process.

The calls are those of the guides of TensorFlow (https://ai.google.dev/edge/litert/conversion/tensorflow/overview) and
of LiteRT Quantizer: `TFLiteConverter.from_keras_model` with a representative data set for whole numbers, and the
dynamic int4 recipe on a float32 file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8", "int4")


def preload() -> None:
    """Import TensorFlow and Keras before the first job."""
    import keras  # noqa: F401
    import tensorflow  # noqa: F401


def work(job: dict[str, Any]) -> None:
    """Convert a model file.

    Args:
        job: Dictionary with model (path of a .keras file), precision, examples (path of an .npz file with an array for
            each input, in the order of the model's inputs) and output (path).
    """
    import keras
    import numpy as np

    from benchmarks import guests  # noqa: F401  registers classes that model files name

    model = keras.saving.load_model(job["model"], compile=False)
    with np.load(job["examples"]) as arrays:
        examples = [arrays[name] for name in arrays.files]
    if getattr(model, "inputs", None) is None:
        model(examples[0][:1])
    output = Path(job["output"])
    if job["precision"] == "int4":
        floats = output.with_suffix(".float.tflite")
        floats.write_bytes(_converted(model, "float32", examples))
        _quantized(floats, output)
        floats.unlink()
    else:
        output.write_bytes(_converted(model, job["precision"], examples))


def _converted(model: Any, precision: str, examples: list[Any]) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision not in ("int8", "int16x8"):
        return converter.convert()

    def representative() -> Iterator[list[Any]]:
        for i in range(len(examples[0])):
            yield [array[i : i + 1] for array in examples]

    converter.representative_dataset = representative
    sets, whole = tf.lite.OpsSet, all(array.dtype.kind == "f" for array in examples)
    if precision == "int8":
        converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS_INT8]
        kind = tf.int8
    else:
        converter.target_spec.supported_ops = [sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
        kind = tf.int16
    if whole:  # token ids have no such type
        converter.inference_input_type = converter.inference_output_type = kind
    return converter.convert()


def _quantized(source: Path, output: Path) -> None:
    from litert_quantizer import qtyping, quantizer

    made = quantizer.Quantizer(str(source))
    made.add_dynamic_config(".*", "*", 4, qtyping.QuantGranularity.CHANNELWISE)
    made.quantize().export_model(str(output), overwrite=True)
