"""Comparison of runtimes for a trained cnn and lstm: latency, size and accuracy, one example at a time on one thread.

The models are those of the matrix (runs/matrix). ONNX Runtime's int8 file is made by its own static quantization (QDQ,
per-channel weights, the same calibration examples), and its dynamic file by its own dynamic quantization. PyTorch runs
eagerly with the same weights. Each runtime has a separate process, and they alternate. A turn is the median of 300
calls, including the transfer of inputs and outputs.

Needs the extra `peers`.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import rounds
from benchmarks.commands import told
from benchmarks.matrix import ROWS, trained

ROUNDS, CALLS = 9, 300
# Recipes of the files, by model. Those with channels include training.
LITERT = {
    "cnn": (
        "float32",
        "dynamic",
        "int8",
        "int8(unfold=false)",
        "channels(0.5, epochs=4) + float32",
        "channels(0.5, epochs=4) + dynamic",
    ),
    "lstm": ("float32", "dynamic", "int8"),
}
CALIBRATION = 256
# Targets for the fastest file: latency relative to the float32 file, and maximum loss of accuracy in points.
TIMES, POINTS = 0.5, 0.3


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each model and runtime.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = []
    for model, recipes in LITERT.items():
        run = trained(model, ROWS[model][0], data_dir)
        files = _prepare(run, data_dir, recipes)
        words = {name: (name, str(file), str(run / "peers")) for name, file in files.items()}
        found = rounds.in_turn("benchmarks.runtimes", words, ROUNDS)
        for name, row in found.items():
            case = {"name": f"{model}: {name}", "model": model, "runtime": name, "unit": "ms", "better": "lower"}
            rows.append(told({**case, **row}))
    return {"rows": rows}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| one example, one thread | ms | relative to LiteRT float32 | bytes | test accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    plain = {row["model"]: row["rounds"] for row in result["rows"] if row["runtime"] == "LiteRT float32"}
    for row in result["rows"]:
        times, low, high = rounds.ratio(row["rounds"], plain[row["model"]])
        lines.append(
            f"| {row['name']} | {statistics.median(row['rounds']):.3f} | {times:.2f} ({low:.2f} to {high:.2f}) |"
            f" {row['bytes']:,} | {row['accuracy']:.2%} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    each = [f"- {row['name']}: {', '.join(f'{ms:.3f}' for ms in row['rounds'])}" for row in result["rows"]]
    target = (
        f"Target: a file of the cnn with {TIMES:g} times the latency of the float32 file, and an accuracy at most"
        f" {POINTS:g} points lower."
    )
    return "\n".join([*table(result), "", target, "", *each])


def _prepare(run: Path, data_dir: Path, recipes: tuple[str, ...]) -> dict[str, Path]:
    """Write the files of all runtimes and the test examples, and return the files by runtime."""
    from compression.pipeline import source

    chosen = source.open_run(run, {"data_dir": data_dir})
    model, data = chosen.load()
    from compression.pipeline import formats, pipeline
    from compression.receipts.subject import given
    from compression.recipes.options import StageTraining
    from compression.tasks import classification

    folder = run / "peers"
    folder.mkdir(exist_ok=True)
    files = {}
    for recipe in recipes:
        made = pipeline.compress(model, data, recipe, folder, training=StageTraining(chosen.config))
        files[f"LiteRT {recipe}"] = made.path
    interface = classification.interface_of(data.spec, batch=1)
    onnx = folder / "model.onnx"
    formats.onnx(model, onnx, interface)
    files["ONNX Runtime float32"] = onnx
    calibration = classification.stratified(data.train, CALIBRATION, 0)
    files["ONNX Runtime dynamic"] = _dynamic_onnx(onnx)
    files["ONNX Runtime int8"] = _quantized_onnx(onnx, given(calibration, interface))
    if "cnn" in run.name:
        np.savez(folder / "weights.npz", *model.get_weights())
        files["PyTorch eager float32"] = folder / "weights.npz"
    np.savez(folder / "test.npz", x=given(data.test, interface), y=data.test.y)
    return files


def _dynamic_onnx(path: Path) -> Path:
    from onnxruntime import quantization

    output = path.with_name("model.dynamic.onnx")
    quantization.quantize_dynamic(str(path), str(output), per_channel=True)
    return output


def _quantized_onnx(path: Path, calibration: np.ndarray) -> Path:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        examples = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            example = next(self.examples, None)
            return None if example is None else {"image": example[None]}

    output = path.with_name("model.int8.onnx")
    prepared = path.with_name("model.prepared.onnx")
    quantization.shape_inference.quant_pre_process(str(path), str(prepared))
    quantization.quantize_static(str(prepared), str(output), Reader(), per_channel=True)
    return output


def _litert(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    from compression.runtime.litert import dequantized, quantized

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def call(x: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source["index"], quantized(x, source))
        interpreter.invoke()
        return dequantized(interpreter.get_tensor(target["index"]), target)

    return call


def _onnx_runtime(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0]


def _torch(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    with np.load(file) as arrays:
        weights = [torch.from_numpy(arrays[name]) for name in arrays.files]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = nn.ModuleList(nn.Conv2d(w.shape[2], w.shape[3], w.shape[0]) for w in weights[0:6:2])
            self.hidden, self.head = (nn.Linear(*w.shape) for w in weights[6:10:2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for index, convolution in enumerate(self.convolutions):
                x = convolution(x)
                x = torch.relu(torch.max_pool2d(x, 2) if index < 2 else x)
            x = x.permute(0, 2, 3, 1).flatten(1)  # Keras flattens channels last
            return torch.softmax(self.head(torch.relu(self.hidden(x))), -1)

    net = Net().eval()
    with torch.no_grad():
        parameters = [*net.convolutions, net.hidden, net.head]
        for layer, kernel, bias in zip(parameters, weights[::2], weights[1::2], strict=True):
            layer.weight.copy_(kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T)
            layer.bias.copy_(bias)

    def call(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()

    return call


RUNTIMES = {"LiteRT": _litert, "ONNX": _onnx_runtime, "PyTorch": _torch}


def _side(name: str, file: Path, folder: Path) -> None:
    """Run one side: report the accuracy on all test examples, then the latency of one example on every request."""
    call = RUNTIMES[name.split()[0]](file)
    with np.load(folder / "test.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    right = sum(int(call(x[i : i + 1]).argmax()) == y[i] for i in range(len(x)))

    def median_ms() -> float:
        times = []
        for _ in range(CALLS):
            began = time.perf_counter()
            call(x[:1])
            times.append(time.perf_counter() - began)
        return statistics.median(times) * 1e3

    rounds.serve(median_ms, bytes=file.stat().st_size, accuracy=right / len(x))


if __name__ == "__main__":
    _side(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
