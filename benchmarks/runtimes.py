"""One trained cnn on several runtimes: latency, bytes and accuracy, one example at a time on one thread.

The model is the cnn of the matrix (runs/matrix/cnn). ONNX Runtime's int8 is its own static quantization (QDQ,
per-channel weights, the same calibration examples); PyTorch runs eagerly with the same weights. Each runtime is
measured in a process of its own; latency, data in and out included, is the median of up to 2,000 calls or three seconds
after 50 warm-up calls. All take turns three times, and the best median of each counts.

Needs the extra `peers`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.matrix import ROWS, trained

ROUNDS = 3
WARM_UP, MOST_CALLS, SECONDS = 50, 2000, 3.0
LITERT = ("float32", "dynamic", "int8")
CALIBRATION = 256


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each runtime."""
    run = trained("cnn", ROWS["cnn"][0], data_dir)
    files = _prepare(run, data_dir)
    rows: dict[str, dict] = {}
    for _ in range(ROUNDS):
        for name, file in files.items():
            command = [sys.executable, "-m", "benchmarks.runtimes", name, str(file), str(run / "peers")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.setdefault(name, row | {"medians_ms": []})["medians_ms"].append(row.pop("median_ms"))
            print(name, rows[name], file=sys.stderr, flush=True)
    return {"rows": [{"runtime": name, **row, "median_ms": min(row["medians_ms"])} for name, row in rows.items()]}


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        "| runtime | ms an example | bytes | test accuracy | medians of the rounds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        medians = ", ".join(f"{ms:.3f}" for ms in row["medians_ms"])
        lines.append(
            f"| {row['runtime']} | {row['median_ms']:.3f} | {row['bytes']:,} | {row['accuracy']:.2%} | {medians} |"
        )
    return "\n".join(lines)


def _prepare(run: Path, data_dir: Path) -> dict[str, Path]:
    """Write the files of all runtimes and the test examples, and return the files by the runtime's name."""
    from compression import source

    model, data = source.open_run(run, {"data_dir": data_dir}).load()
    from compression import classifiers, formats, pipeline
    from compression.receipt import given

    folder = run / "peers"
    folder.mkdir(exist_ok=True)
    files = {}
    for precision in LITERT:
        files[f"LiteRT {precision}"] = pipeline.compress(model, data, precision, folder).path
    interface = classifiers.interface_of(data.spec, batch=1)
    onnx = folder / "model.onnx"
    formats.onnx(model, onnx, interface)
    files["ONNX Runtime float32"] = onnx
    calibration = classifiers.stratified(data.train, CALIBRATION, 0)
    files["ONNX Runtime int8"] = _quantized_onnx(onnx, given(calibration, interface))
    np.savez(folder / "weights.npz", *model.get_weights())
    files["PyTorch eager float32"] = folder / "weights.npz"
    np.savez(folder / "test.npz", x=given(data.test, interface), y=data.test.y)
    return files


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

    from compression.litert import dequantized, quantized

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
            x = x.permute(0, 2, 3, 1).flatten(1)  # the order in which Keras flattens
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


def _measured(name: str, file: Path, folder: Path) -> dict[str, Any]:
    """Be one process: return the accuracy on all test examples and the latency of one."""
    call = RUNTIMES[name.split()[0]](file)
    with np.load(folder / "test.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    for _ in range(WARM_UP):
        call(x[:1])
    times: list[float] = []
    while len(times) < MOST_CALLS and sum(times) < SECONDS:
        began = time.perf_counter()
        call(x[:1])
        times.append(time.perf_counter() - began)
    right = sum(int(call(x[i : i + 1]).argmax()) == y[i] for i in range(len(x)))
    median = float(np.median(times)) * 1e3
    return {"median_ms": median, "bytes": file.stat().st_size, "accuracy": right / len(x)}


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
