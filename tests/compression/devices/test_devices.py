"""What a file takes on a device, against reference files, the tools themselves and closed forms."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from compression import compress, profile, to_c, verify
from compression.devices import arena, cortex_m, edge_tpu, micro, vela
from compression.devices import profile as devices
from compression.devices.targets import COUNTED, NPUS, Target, check_installed, versions
from compression.flatbuffers import flatbuffer
from tests.compression.conftest import altered
from tests.compression.mcu.test_snippets import MICRO
from tests.compression.mcu.test_to_c import INT4, LENET5, TYPES, compiler
from tests.compression.test_commands import said
from tests.conftest import DATA_DIR
from zoo.console.errors import UsageError

REFERENCES = DATA_DIR.parent / "models" / "mlperf_tiny"
installed = pytest.mark.skipif(not versions(), reason="needs the extra `device`: tflite-micro and ethos-u-vela")
# Arena in TFLite Micro and cycles on an Ethos-U55 with 128 multiply-adds of MLPerf Tiny's reference files, measured
# with tflite-micro and Vela 5.2 on their own.
MEASURED = {
    "dscnn_kws_int8_reference": (24_272, 89_900),
    "resnet8_cifar10_int8_reference": (55_984, 201_747),
    "mobilenet_vww96_int8_reference": (103_680, 220_870),
    "autoencoder_toycar_int8_reference": (3_984, 201_184),
    "streaming_wakeword_int8_reference": (16_640, 59_693),
}


def reference(name):
    path = REFERENCES / f"{name}.tflite"
    return path if path.is_file() else pytest.skip(f"no reference files of MLPerf Tiny in {REFERENCES}")


@installed
@pytest.mark.parametrize("name", MEASURED)
def test_arena_and_cycles_of_the_reference_files(name):
    found = devices.measure(reference(name), "ethos-u55-128")
    assert (found["arena_bytes"], found["cycles"]) == MEASURED[name]
    assert found["activation_bytes"] + found["persistent_bytes"] == found["arena_bytes"]
    assert found["npu_share"] == 1 and not found["on_cpu"]
    assert sum(row["cycles"] for row in found["layers"]) == found["cycles"]
    assert max(row["sram_bytes"] for row in found["layers"]) <= found["sram_bytes"]


@installed
@pytest.mark.parametrize("name", [name for name in MEASURED if "wakeword" not in name])
def test_multiply_adds_equal_those_that_vela_counts_in_the_same_layers(name):
    """Vela also counts the sums of pooling and softmax, which have no weights."""
    path = reference(name)
    counted = 0
    for row in vela.measure(path, "ethos-u55-128")["layers"]:
        if {*row["operators"]} & {"Conv2D", "DepthwiseConv2D", "FullyConnected"}:
            counted += row["multiply_adds"] - (24 if "Softmax" in row["operators"] else 0)
    ours = cortex_m.multiply_adds(flatbuffer.read(path))
    assert abs(ours - counted) < 100, (ours, counted)


def test_multiply_adds_of_a_lenet5_in_closed_form():
    model = flatbuffer.read(LENET5)
    shapes = [[int(size) for size in tensor.shape] for tensor in model.subgraphs[0].tensors]
    expected = 0
    for operator, inputs, outputs in flatbuffer.nodes(model)[0]:
        if operator == "CONV_2D":
            _, rows, columns, made = shapes[outputs[0]]
            _, height, width, given = shapes[inputs[1]]
            expected += rows * columns * made * height * width * given
        if operator == "FULLY_CONNECTED":
            expected += np.prod(shapes[inputs[1]])
    assert cortex_m.multiply_adds(model) == expected > 10_000
    found = cortex_m.estimate(model)
    assert found["cycles_estimated"] == round(expected * 2 * 216e6 / 249e6) and "arXiv" in found["source"]


@installed
def test_the_arena_of_a_file_holds_its_live_tensors_and_tflite_micro_agrees_with_litert():
    found = arena.measure(LENET5, examples=4)
    assert found["activation_bytes"] >= micro.arena_at_least(flatbuffer.read(LENET5))
    assert found["largest_difference"] <= 2  # steps of the int8 probabilities
    assert sum(found["arena_parts"].values()) <= found["persistent_bytes"]


@installed
def test_a_file_that_cannot_run_is_refused_with_what_hinders_it(tmp_path):
    found = devices.measure(INT4, "ethos-u55-128")
    assert found["refused"].startswith("TFLite Micro cannot run it: its kernels do not support int4 weights")
    assert found["npu_refused"].startswith("Vela cannot compile it")
    model = flatbuffer.read(LENET5)
    (made,) = [outputs[0] for operator, _, outputs in flatbuffer.nodes(model)[0] if operator == "SOFTMAX"]
    model.subgraphs[0].tensors[made].type = schema.TensorType.FLOAT32
    path = tmp_path / "odd.tflite"
    flatbuffer.write(model, path)
    assert "SOFTMAX of layer" in (refused := arena.measure(path)["refused"]) and "input->type" in refused


@installed
def test_operators_that_fall_back_to_the_processor_are_named():
    found = vela.measure(reference("autoencoder_toycar_float_reference"), "ethos-u55-128")
    assert found["cycles"] is None and found["npu_share"] == 0
    assert {row["operator"] for row in found["on_cpu"]} == {"FULLY_CONNECTED", "RELU"}
    assert "Float32" in found["on_cpu"][0]["reason"]


@pytest.mark.parametrize("name", [name for name in Target.__args__ if name not in NPUS])
@installed
def test_the_command_prints_every_number_that_it_returns(name, capsys):
    words = (LENET5, "--target", name, *(("--clock", "80MHz") if name in COUNTED else ()))
    status, out, error = said(capsys, profile, *words)
    assert status == 0, error
    status, told, _ = said(capsys, profile, *words, "--json")
    found = json.loads(told)
    assert f"{found['arena_bytes']:,}" in out and f"{found['flash_bytes']:,}" in out and str(LENET5) in out
    assert found["operators"] == flatbuffer.operators(flatbuffer.read(LENET5)) and found["target"] == name
    if name == "cortex-m7":
        assert found["milliseconds"] == pytest.approx(found["cycles_estimated"] / 80e3) and "estimate" in out
    if name == "edgetpu":
        assert found["tpu_share"] == 1 and "not run" in out


@installed
def test_a_compiled_file_is_kept_and_its_time_follows_the_clock(tmp_path, capsys):
    words = (LENET5, "--target", "ethos-u85-256", "--compiled", tmp_path / "made.tflite", "--json")
    status, out, error = said(capsys, profile, *words)
    assert status == 0, error
    found = json.loads(out)
    assert found["flash_bytes"] == (tmp_path / "made.tflite").stat().st_size
    assert flatbuffer.operators(flatbuffer.read(tmp_path / "made.tflite")) == {"ethos-u": 1}
    assert found["milliseconds"] == pytest.approx(1000 * found["cycles"] / found["clock_hz"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--target", "ethos-u55-12"), "--target: expected one of tflm, cortex-m7"),
        (("--clock", "0"), "--clock: expected a frequency above 0 such as 80MHz"),
        (("--clock", "80MPH"), "received '80MPH'"),
        (("--clock", "80MHz"), "--clock 80MHz: expected together with a target whose cycles are counted, cortex-m7"),
        (("--target", "edgetpu", "--clock", "80MHz"), "received --target edgetpu"),
        (("--compiled", "made.tflite"), "--compiled made.tflite: expected together with an accelerator"),
    ],
)
def test_mistakes_are_refused(words, sentence, capsys):
    status, _, error = said(capsys, profile, LENET5, *words)
    assert status == 2 and sentence in error


def test_without_the_packages_the_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr("compression.devices.targets.PACKAGES", ("no-such-package",))
    with pytest.raises(UsageError, match=r"--max-arena: .*keras-compression-zoo\[device\]"):
        check_installed(["--max-arena"])
    assert devices.section(LENET5) == {}


def test_the_rules_of_the_edge_tpu_name_operator_layer_and_reason():
    assert edge_tpu.check(flatbuffer.read(LENET5))["on_cpu"] == []
    found = edge_tpu.check(flatbuffer.read(INT4))
    assert found["tpu_share"] == 0 and "float32 activations" in found["on_cpu"][0]["reason"]
    assert found["on_cpu"][0]["operator"] == "CONV_2D"


@installed
def test_a_receipt_has_what_a_device_takes_and_verify_measures_it_again(image_run, tmp_path, capsys):
    status, out, error = said(capsys, compress, image_run, "--recipe", "int8", "--output", tmp_path)
    assert status == 0 and "cycles" in out and "arena" in out, error
    file = tmp_path / "int8.tflite"
    receipt = altered(file, lambda receipt: receipt["device"].update(arena_bytes=100))
    status, _, error = said(capsys, verify, file, image_run)
    assert status == 1 and "device.arena_bytes: the receipt says 100, measured" in error
    measured = devices.section(file)
    assert receipt["device"]["cycles"] == measured["cycles"]


@installed
@pytest.mark.slow
def test_numbers_of_other_versions_of_the_tools_are_told_and_not_compared(image_run, tmp_path, capsys):
    assert said(capsys, compress, image_run, "--recipe", "int8", "--output", tmp_path)[0] == 0
    file = tmp_path / "int8.tflite"
    status, out, _ = said(capsys, verify, file, image_run)
    assert status == 0 and "reproduced: arena" in out and ", device," in out.replace("constants, device", ", device,")
    altered(file, lambda receipt: receipt["device"]["versions"].update({"ethos-u-vela": "4.0"}))
    status, out, error = said(capsys, verify, file, image_run)
    assert status == 0 and "reproduced: arena" not in out, error
    (told,) = [line for line in out.splitlines() if line.startswith("told")]
    assert " device," in told


@installed
def test_the_header_states_the_measured_arena_and_the_project_builds(tmp_path, capsys):
    status, out, error = said(capsys, to_c, LENET5, "--output", tmp_path, "--project")
    assert status == 0, error
    expected = arena.measure(LENET5)["arena_bytes"]
    assert f"an arena of {expected:,} bytes (measured)" in out
    assert f"#define LENET5_10144_TFLITE_ARENA_BYTES {expected}\n" in (tmp_path / "lenet5_10144.h").read_text()
    cmake = shutil.which("cmake") or pytest.skip("no CMake on PATH")
    built = tmp_path / "built"
    done = subprocess.run([cmake, "-B", built, "-S", tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode and "expected the sources of TFLite Micro" in done.stderr
    sources = tmp_path / "tflm"
    headers = sources / "tensorflow" / "lite" / "micro"
    (headers.parent / "schema").mkdir(parents=True)
    headers.mkdir()
    for name, text in MICRO.items():
        (headers / name).write_text(f"#pragma once\n{TYPES if name == 'micro_log.h' else ''}\n{text}\n")
    library = sources / "gen" / "here" / "lib"
    library.mkdir(parents=True)
    (library / "stand_in.cc").write_text(STAND_IN)
    words = [compiler("c++", "g++", "clang++"), "-std=c++17", f"-I{sources}", "-c", "stand_in.cc"]
    subprocess.run(words, cwd=library, check=True, timeout=120)
    subprocess.run(["ar", "rcs", "libtensorflow-microlite.a", "stand_in.o"], cwd=library, check=True, timeout=60)
    for step in (["-B", built, "-S", tmp_path, f"-DTFLM={sources}"], ["--build", built]):
        done = subprocess.run([cmake, *step], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([built / "lenet5_10144"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"arena {expected}" in done.stdout


# Does what microcontroller.cc asks of TFLite Micro, with tensors of zeros.
STAND_IN = """
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include <cstdarg>
#include <cstdio>
static int8_t values[4096];
static size_t given;
static TfLiteTensor tensor;
void MicroPrintf(const char* format, ...) {
  va_list words; va_start(words, format); std::vprintf(format, words); va_end(words); std::printf("\\n");
}
namespace tflite {
void InitializeTarget() {}
const Model* GetModel(const void* content) { return static_cast<const Model*>(content); }
MicroInterpreter::MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t*, size_t size) { given = size; }
int MicroInterpreter::AllocateTensors() { std::printf("arena %d\\n", static_cast<int>(given)); return kTfLiteOk; }
int MicroInterpreter::Invoke() { return kTfLiteOk; }
size_t MicroInterpreter::arena_used_bytes() const { return given; }
static TfLiteTensor* only() { tensor.type = kTfLiteInt8; tensor.data.int8 = values; return &tensor; }
TfLiteTensor* MicroInterpreter::input(size_t) { return only(); }
TfLiteTensor* MicroInterpreter::output(size_t) { return only(); }
template <> int MicroMutableOpResolver<5>::AddConv2D() { return kTfLiteOk; }
template <> int MicroMutableOpResolver<5>::AddFullyConnected() { return kTfLiteOk; }
template <> int MicroMutableOpResolver<5>::AddMaxPool2D() { return kTfLiteOk; }
template <> int MicroMutableOpResolver<5>::AddReshape() { return kTfLiteOk; }
template <> int MicroMutableOpResolver<5>::AddSoftmax() { return kTfLiteOk; }
}
"""
