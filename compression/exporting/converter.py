"""Convert a SavedModel to a .tflite file, in a child process that `compression.exporting.tflite` starts.

The engine of each recipe was chosen by measurement (`python -m benchmarks engines`). The TFLite converter is used for
every precision it supports: litert-quantizer fails on recurrent layers in integers ("Tensor data is null") and is
further from Keras on attention, although its files are 1 to 3 % smaller. litert-quantizer is used for int4, which the
converter lacks, for `skip` and layers that stay in float32 in recipes without calibration, and for dynamic models so
small that the converter leaves all their weights in float.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import threadpoolctl

from compression.exporting import corrections, learnt
from compression.exporting.tapping import Call, Calls
from compression.flatbuffers import calibrated, equalization, flatbuffer, weights
from compression.flatbuffers.slim import slim
from compression.runtime import rollout
from strategies import backend
from zoo.console import progress
from zoo.console.errors import Failed

QUANTIZER = "litert-quantizer"


@dataclass
class Adjusted:
    """What is changed in an int8 file besides rounding.

    Args:
        calls: Function that returns an iterator of the calibration examples.
        equalize: Whether channels are equalized between layers.
        best_ranges: Whether activations get the range with the least squared error.
        correct_bias: Whether biases are corrected.
        learns: Whether the rounding of the weights is learnt.
        skip: Name scopes of the layers that stay float.
        per_tensor: Whether a weight tensor has one scale.
        calibrated: The float file that was calibrated, once it was.
        rounded: Weights that were rounded before that.
    """

    calls: Callable[[], Iterator[Call]]
    equalize: bool
    best_ranges: bool
    correct_bias: bool
    learns: bool
    skip: list[str]
    per_tensor: bool
    calibrated: Any = None
    rounded: list[learnt.Rounded] = field(default_factory=list)

    @classmethod
    def of(cls, job: dict[str, Any]) -> "Adjusted | None":
        wanted = {name: job[name] for name in ("equalize", "best_ranges", "correct_bias")}
        wanted["learns"] = job["precision"] == "int8" and job["rounding"] == "learnt"
        if not any(wanted.values()):
            return None
        kept = [*job["skip"], *job["in_float"]]
        return cls(lambda: _calibration(job), **wanted, skip=kept, per_tensor=job["per_tensor"])

    def before(self, content: bytes) -> bytes:
        """Return the float file that is calibrated instead of another."""
        model = flatbuffer.parse(content, "the float file")
        if self.equalize:
            equalization.equalize(model)
        if self.learns:
            bits = {each.place: 8 for each in weights.find(model) if not _skipped(model, each, self.skip)}
            with threadpoolctl.threadpool_limits(1, "blas"):
                model, self.rounded = learnt.learnt(model, self.calls, bits, per_tensor=self.per_tensor)
        return flatbuffer.pack(model)

    def after(self, path: Path) -> None:
        """Write learnt weights and corrected biases into the file that the converter has made."""
        if not (self.rounded or self.correct_bias):
            return
        model = flatbuffer.read(path)
        corrections.store_rounded(self.calibrated, model, self.rounded)
        if self.correct_bias:
            corrections.correct_biases(self.calibrated, model, self.calls)
        flatbuffer.write(model, path)


def engine(precision: str, skip: bool) -> str:
    """Return the engine for a recipe.

    Args:
        precision: Precision of the recipe.
        skip: Whether the recipe keeps layers in float.
    """
    return QUANTIZER if precision == "int4" or (precision in ("dynamic", "float16") and skip) else "TFLite converter"


def preload() -> None:
    """Import TensorFlow before the first conversion."""
    with backend.uncollected():
        import tensorflow  # noqa: F401


class Refused(Exception):
    """The recipe cannot be applied to this model; the message tells the user why."""


def work(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Convert one SavedModel by one or more recipes.

    Args:
        job: Dictionary with saved_model (path), functions (names of several functions; None for a single one),
            rolled_out (whether the functions generate text), calibration (path of an .npz file, or None), batch,
            allow_flex, ranges (trained activation ranges by the name of the traced operation) and files. The .npz file
            has an array for each input; for text, tokens and source; for other functions, FUNCTION.INPUT. Each file
            has output (path), precision, integer_io, integer_input and integer_output (which ends integer_io changes),
            per_tensor (one scale per weight tensor), skip (name scopes of the layers that stay float), in_float (those
            of layers that stay float in every recipe), float_outputs (outputs that such layers give), equalize,
            best_ranges and correct_bias (see `Adjusted`), rounding, mixed (largest number of bytes, or None), bare and
            reserved (bytes that are added to the file afterwards).

    Returns:
        For each file its engine, and the number of bits of weights by name where the engine is litert-quantizer; or
        `refused`, the reason why the recipe cannot be applied.
    """
    import warnings

    warnings.filterwarnings("ignore")  # this process runs only these conversions
    try:
        return [_convert({**job, **file}) for file in job["files"]]
    except Refused as error:
        return [{"refused": str(error)}]


def _convert(job: dict[str, Any]) -> dict[str, Any]:
    output, by = Path(job["output"]), engine(job["precision"], bool(job["skip"]) or _rounds_floats(job))
    if by != QUANTIZER:
        adjusted = Adjusted.of(job)
        with _given_ranges(job["ranges"], bool(job["functions"]), lambda: _calibration(job), adjusted):
            output.write_bytes(_by_converter(job))
        if adjusted:
            adjusted.after(output)
        if job["precision"] != "dynamic" or flatbuffer.has_integer_weights(flatbuffer.read(output)):
            return {"engine": by, "bits": {}}
        # The converter leaves tensors of fewer than 1,024 values in float; in a small model these are all.
    floats = output.with_suffix(".float.tflite")
    floats.write_bytes(_float_converter(job).convert())
    bits = _quantize(floats, output, job)
    floats.unlink()
    return {"engine": QUANTIZER, "bits": bits}


@contextlib.contextmanager
def _given_ranges(
    ranges: dict[str, tuple[float, float]], lookups: bool, calls: Calls, adjusted: Adjusted | None = None
) -> Iterator[None]:
    """Replace calibrated ranges by true, trained or chosen ones, and equalize the float file before it is calibrated.

    A tensor that is zero in all examples gets a range as well: with the scale 0, LiteRT cannot prepare the file.

    In files that generate text, the output of a table lookup gets the range of the whole table: tokens that occur in no
    calibration text would be clipped otherwise.

    Fake quantization in the graph is no alternative: the converter then calibrates nothing, so that any operation
    without fake quantization stays float, and it refuses per-channel scales of Dense kernels.

    Raises:
        Failed: This version of TensorFlow has no such method.
    """
    asked = bool(ranges or lookups or adjusted)
    # TensorFlow 2.21: `TFLiteConverter.convert` calls this method of a class that its docstring calls internal, and
    # quantizes the calibrated file that it returns. No public interface gives or takes calibrated ranges.
    try:
        from tensorflow.lite.python.optimize.calibrator import Calibrator

        before = Calibrator.calibrate
    except (ImportError, AttributeError):
        if not asked:
            yield
            return
        import tensorflow as tf

        raise Failed(
            f"TensorFlow {tf.__version__} has no tensorflow.lite.python.optimize.calibrator.Calibrator.calibrate, by "
            "which trained ranges reach a file: expected TensorFlow 2.21"
        ) from None

    def calibrate(self: Any, *args: Any) -> bytes:
        if adjusted and (adjusted.equalize or adjusted.learns):
            self = Calibrator(adjusted.before(bytes(self._model_content)))
        content = bytes(before(self, *args))
        model = flatbuffer.parse(content, "the calibrated file")
        measured = corrections.set_true_ranges(model, calls)
        if not calibrated.widen_empty_ranges(model) and not asked and not measured:
            return content
        if adjusted and adjusted.best_ranges:
            corrections.set_best_ranges(model, adjusted.calls)
        calibrated.set_ranges(model, ranges)
        if lookups:
            calibrated.set_lookup_ranges(model)
        if adjusted:
            adjusted.calibrated = model
        return flatbuffer.pack(model)

    Calibrator.calibrate = calibrate
    try:
        yield
    finally:
        Calibrator.calibrate = before


def _rounds_floats(job: dict[str, Any]) -> bool:
    """Return whether the converter would round constants of layers that stay in float32, as it can leave none out."""
    if job["precision"] not in ("dynamic", "float16") or not job["in_float"]:
        return False
    if job["precision"] == "float16":  # of any size
        return True
    model = flatbuffer.parse(_float_converter(job).convert(), "the float file")
    return any(_skipped(model, each, job["in_float"]) for each in weights.find(model))


def _float_converter(job: dict[str, Any]) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(job["saved_model"], signature_keys=job["functions"])
    if job["allow_flex"]:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return converter


def _by_converter(job: dict[str, Any]) -> bytes:
    import tensorflow as tf

    converter, precision = _float_converter(job), job["precision"]
    if precision == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel = job["per_tensor"]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = job["per_tensor"]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision not in ("int8", "int16x8"):
        return converter.convert()
    sets = tf.lite.OpsSet
    integer = {
        "int8": sets.TFLITE_BUILTINS_INT8,
        "int16x8": sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    }[precision]
    # Comparisons and casts of token ids have no int8 form, so builtin operators in other types are allowed.
    flex = [sets.SELECT_TF_OPS] if job["allow_flex"] else []
    converter.target_spec.supported_ops = [integer, sets.TFLITE_BUILTINS, *flex]
    converter.representative_dataset = lambda: _told(_calibration(job))
    if job["integer_io"]:
        kind = {"int8": tf.int8, "int16x8": tf.int16}[precision]
        if job["integer_input"]:
            converter.inference_input_type = kind
        if job["integer_output"]:
            converter.inference_output_type = kind
    kept = [*job["skip"], *job["in_float"]]
    nodes = _nodes(_float_converter(job).convert(), kept, job["float_outputs"]) if kept else []
    if not job["skip"]:
        with _left_in_float(nodes):
            return converter.convert()
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: ([*example.values()] for example in _examples(job)),
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=nodes),
    )
    return debugger.get_nondebug_quantized_model()


@contextlib.contextmanager
def _left_in_float(nodes: list[str]) -> Iterator[None]:
    """Let the converter leave operators in float32, by the names of their outputs, with integers at the other ends.

    The debugger of `_by_converter` leaves the ends of the file in float32 as well.

    Raises:
        Failed: This version of TensorFlow has no such function.
    """
    if not nodes:
        yield
        return
    # TensorFlow 2.21: `TFLiteConverter.convert` calls this function of a private module, whose arguments are those of
    # the public debugger, and gives it all of them but the nodes.
    try:
        from tensorflow.lite.python import lite

        before = lite._mlir_quantize
    except (ImportError, AttributeError):
        import tensorflow as tf

        raise Failed(
            f"TensorFlow {tf.__version__} has no tensorflow.lite.python.lite._mlir_quantize, by which layers stay in"
            " float32: expected TensorFlow 2.21"
        ) from None
    lite._mlir_quantize = functools.partial(before, denylisted_nodes=nodes)
    try:
        yield
    finally:
        lite._mlir_quantize = before


def _examples(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield calibration batches by input name."""
    import numpy as np

    with np.load(job["calibration"]) as arrays:
        inputs = dict(arrays)
    size = job["batch"]
    count = min(map(len, inputs.values())) // size
    for i in range(count):
        yield {name: array[i * size : (i + 1) * size] for name, array in inputs.items()}


def _calls(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every calibration example with its function's name; each function has one input."""
    import numpy as np

    with np.load(job["calibration"]) as arrays:
        for place, array in arrays.items():
            name, _, given = place.partition(".")
            for i in range(len(array)):
                yield name, {given: array[i : i + 1]}


def _steps(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the inputs of every function at each step of the calibration texts, computed by the float model."""
    import numpy as np
    import tensorflow as tf

    loaded = tf.saved_model.load(job["saved_model"])

    def call(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made = loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        return {key: value.numpy() for key, value in made.items()}

    with np.load(job["calibration"]) as arrays:
        texts = dict(arrays)
    specs = loaded.signatures["decode_step"].structured_input_signature[1]
    cache = {name: np.zeros(specs[name].shape, np.float32) for name in rollout.CACHE}
    for number, tokens in enumerate(texts["tokens"]):
        source = texts["source"][number, None] if "source" in texts else None
        known = tokens[: np.count_nonzero(tokens)]
        for name, inputs, _ in rollout.rolled_out(call, cache, known, source):
            yield name, inputs


def _nodes(content: bytes, scopes: list[str], outputs: list[str]) -> list[str]:
    """Return the names of operator outputs that belong to layers traced in these scopes, or are outputs of the file.

    The tensors of the file's own outputs have other names, without the scope of their layer. One that a layer with
    weights computes, because the converter has folded what follows into them, is not among those returned.
    """
    model = flatbuffer.parse(content, "the float file")
    found = [name for name in flatbuffer.output_names(model) if any(f"{scope}/" in name for scope in scopes)]
    found += [tensor for name, tensor in flatbuffer.weightless_outputs(model).items() if name in outputs]
    if not found:
        raise ValueError(f"no operator of the exported graph belongs to {', '.join(scopes)}")
    return found


def _quantize(source: Path, output: Path, job: dict[str, Any]) -> dict[str, int]:
    """Quantize a float file by litert-quantizer, and return the number of bits of the weights it has, by name."""
    if job["precision"] == "float16":
        _cast(source, output, job)
        return {}
    model = flatbuffer.read(source)
    kept = [*job["skip"], *job["in_float"]]
    found = [each for each in weights.find(model) if not _skipped(model, each, kept)]
    bits = {each.place: 4 if job["precision"] == "int4" and each.code in learnt.FOUR_BITS else 8 for each in found}
    if job["precision"] != "int4" or job["rounding"] != "learnt":
        _by_quantizer(source, output, bits, job)
    else:
        if flex := flatbuffer.flex(model):
            raise Refused(
                f"int4 learns its rounding by running the file, and LiteRT for Python cannot run {', '.join(flex)};"
                " expected int4(rounding=nearest)"
            )
        options = {"per_tensor": job["per_tensor"], "seed": 0}
        four = [each for each in found if bits[each.place] == 4]
        if job["mixed"] is None:
            spare = min(sum(each.size for each in four) // 2 * learnt.SPARE, learnt.MOST_SPARE)
        else:
            spare = _spare(source, output, bits, job)
        with threadpoolctl.threadpool_limits(1, "blas"):  # its threads wait for each other longer than they compute
            bits |= learnt.chosen_bits(model, lambda: _calibration(job), four, spare, **options)
            rounded, made = learnt.learnt(model, lambda: _calibration(job), bits, **options)
        flatbuffer.write(rounded, source)
        _by_quantizer(source, output, bits, job)
        _store(output, model, made)
    return {model.subgraphs[each.graph].tensors[each.tensor].name.decode(): bits[each.place] for each in found}


def _skipped(model: Any, found: weights.Weights, scopes: list[str]) -> bool:
    graph = model.subgraphs[found.graph]
    names = [graph.tensors[graph.operators[reader].outputs[0]].name.decode() for reader in found.readers]
    return any(f"{scope}/" in name for scope in scopes for name in names)


def _calibration(job: dict[str, Any]) -> Iterator[Call]:
    calls = _steps if job["rolled_out"] else _calls if job["functions"] else _examples
    return calls(job)


def _told(calls: Iterator[Call]) -> Iterator[Call]:
    """Yield calls, and tell how many there were."""
    for number, call in enumerate(calls, 1):
        progress.part(number, what="calibration, examples")
        yield call


def _spare(source: Path, output: Path, bits: Mapping[tuple[int, int], int], job: dict[str, Any]) -> int:
    """Return by how many bytes a file with 4 bits in every layer is smaller than the recipe allows."""
    _by_quantizer(source, output, bits, job)
    least = slim(output, names=not job["bare"])["after"] + job["reserved"]
    if least > job["mixed"]:
        raise Refused(f"int4: mixed: expected at least {least:,} bytes, which int4 takes, received {job['mixed']:,}")
    return job["mixed"] - least


def _by_quantizer(source: Path, output: Path, bits: Mapping[tuple[int, int], int], job: dict[str, Any]) -> None:
    from litert_quantizer import qtyping, quantizer

    scales = qtyping.QuantGranularity.TENSORWISE if job["per_tensor"] else qtyping.QuantGranularity.CHANNELWISE
    made = quantizer.Quantizer(str(source))
    made.add_dynamic_config(".*", "*", {"int4": 4, "dynamic": 8}[job["precision"]], scales)
    model = flatbuffer.read(source)
    for found in weights.find(model):
        if bits.get(found.place) == 8:
            graph = model.subgraphs[found.graph]
            for reader in found.readers:
                name = graph.tensors[graph.operators[reader].outputs[0]].name.decode()
                made.add_dynamic_config(f"^{re.escape(name)}(;|$)", "*", 8, scales)
    _leave(made, [*job["skip"], *job["in_float"]])
    made.quantize().export_model(str(output), overwrite=True)


def _cast(source: Path, output: Path, job: dict[str, Any]) -> None:
    """Write a float file with its weights in float16, but those of layers that stay in float32."""
    from litert_quantizer import algorithm_manager, qtyping, quantizer

    made = quantizer.Quantizer(str(source))
    stored = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    computed = {"compute_precision": qtyping.ComputePrecision.FLOAT, "explicit_dequantize": True}
    made.update_quantization_recipe(
        regex=".*",
        operation_name="*",
        op_config=qtyping.OpQuantizationConfig(weight_tensor_config=stored, **computed),
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    _leave(made, job["in_float"])
    made.quantize().export_model(str(output), overwrite=True)


def _leave(made: Any, scopes: list[str]) -> None:
    """Let litert-quantizer leave the operators of some name scopes as they are."""
    from litert_quantizer import algorithm_manager

    for scope in scopes:
        made.update_quantization_recipe(
            regex=f".*{re.escape(scope)}/.*",
            operation_name="*",
            algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
        )


def _store(path: Path, source: Any, made: list[learnt.Rounded]) -> None:
    """Write learnt integers and scales into a file that litert-quantizer has made from a float file.

    It writes the same operators in the same order, and has rounded every weight to the nearest value.
    """
    model = flatbuffer.read(path)
    for each in made:
        found, operators = each.weights, model.subgraphs[each.weights.graph].operators
        if len(operators) != len(source.subgraphs[found.graph].operators):
            raise ValueError("litert-quantizer has changed the operators of the file")
        places = {int(operators[reader].inputs[weights.PLACES[found.code][1]]) for reader in found.readers}
        for place in places:
            weights.store_integers(model, found.graph, place, each.integers, each.scales, each.bits)
    flatbuffer.write(model, path)
