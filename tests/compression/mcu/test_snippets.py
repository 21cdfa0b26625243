"""Code for phones and microcontrollers names the tensors of the file, and examples/ is up to date."""

import re
import subprocess

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from compression import snippets, to_c
from compression.flatbuffers import flatbuffer
from compression.mcu.snippets import told_of
from tests.compression.mcu.test_to_c import INT4, LENET5, STRICT, TYPES, compiler
from tests.compression.test_commands import said
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
# The declarations that microcontroller.cc uses, from TFLite Micro at the commit that compression.devices.micro names.
MICRO = {
    "micro_interpreter.h": """
        #include <cstddef>
        #include <cstdint>
        union Values { float* f; int8_t* int8; uint8_t* uint8; int32_t* i32; };
        struct TfLiteTensor { int type; Values data; };
        namespace tflite {
        struct Model;
        struct MicroOpResolver {};
        struct MicroInterpreter {
          MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t*, size_t);
          int AllocateTensors(); int Invoke(); size_t arena_used_bytes() const;
          TfLiteTensor* input(size_t); TfLiteTensor* output(size_t);
        };
        }""",
    "micro_log.h": "void MicroPrintf(const char* format, ...);",
    "micro_mutable_op_resolver.h": """
        namespace tflite {
        template <unsigned int count> struct MicroMutableOpResolver : MicroOpResolver {
          int AddConv2D(); int AddFullyConnected(); int AddMaxPool2D(); int AddReshape(); int AddSoftmax();
        };
        }""",
    "system_setup.h": "namespace tflite { void InitializeTarget(); }",
    "../schema/schema_generated.h": "namespace tflite { const Model* GetModel(const void*); }",
}


def test_examples_equal_the_output_of_the_command(tmp_path, capsys):
    status, out, error = said(capsys, snippets, LENET5, "--output", tmp_path)
    assert status == 0, error
    made = sorted(tmp_path.iterdir())
    assert [str(path) for path in made] == out.splitlines()
    assert {path.name for path in made} == {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
    for path in made:
        assert path.read_text() == (EXAMPLES / path.name).read_text(), path.name
    assert "@{" not in "".join(path.read_text() for path in made)


@pytest.mark.parametrize("name", ["android.kt", "ios.swift", "microcontroller.cc", "README.md"])
def test_examples_name_the_tensors_of_the_file(name):
    text = (EXAMPLES / name).read_text()
    interpreter = Interpreter(str(LENET5))
    ((key, ends),) = interpreter.get_signature_list().items()
    for details, names in (
        (interpreter.get_input_details()[0], ends["inputs"]),
        (interpreter.get_output_details()[0], ends["outputs"]),
    ):
        scale, zero = details["quantization"]
        about = f'"{names[0]}": {np.dtype(details["dtype"]).name} {details["shape"].tolist()}'
        assert re.search(rf"{re.escape(about)}, real value = {scale:.9g} \* \(value \+ {-zero}\)", text), about
        if not name.endswith((".cc", ".md")):  # C++ code uses the constants of the header
            assert f'"{key}"' in text and f"{scale:.9g}" in text and f"({zero})" in text
            assert str(np.prod(details["shape"])) in text


def test_microcontroller_code_compiles_against_the_declarations_of_tflite_micro(tmp_path, capsys):
    found = compiler("c++", "g++", "clang++")
    assert said(capsys, to_c, LENET5, "--output", tmp_path)[0] == 0
    folder = tmp_path / "tensorflow" / "lite" / "micro"
    folder.mkdir(parents=True)
    (tmp_path / "tensorflow" / "lite" / "schema").mkdir()
    for header, text in MICRO.items():
        (folder / header).write_text(f"#pragma once\n{text}\n")
    (folder / "micro_log.h").write_text(f"#pragma once\n{TYPES}\n{MICRO['micro_log.h']}\n")
    words = [found, "-std=c++17", "-fsyntax-only", *STRICT, "-I", tmp_path]
    subprocess.run([*words, EXAMPLES / "microcontroller.cc"], check=True, timeout=120)


def test_a_file_that_tflite_micro_cannot_run_gets_code_for_phones_only(tmp_path, capsys):
    status, out, error = said(capsys, snippets, INT4, "--output", tmp_path)
    assert status == 0 and "no microcontroller.cc: TFLite Micro cannot run" in error
    assert [line.rpartition("/")[2] for line in out.splitlines()] == ["android.kt", "ios.swift"]
    kotlin, swift = ((tmp_path / name).read_text() for name in ("android.kt", "ios.swift"))
    assert "input.writeFloat(values)" in kotlin and "return output.readFloat()" in kotlin and "roundToInt" not in kotlin
    assert "let given: [Float] = values" in swift and "to: Float.self).map { $0 }" in swift


def test_files_without_possible_code_are_refused(tmp_path, capsys):
    model = flatbuffer.read(LENET5)
    model.signatureDefs[0].inputs[0].name = "image$(x)"
    path = tmp_path / "model.tflite"
    flatbuffer.write(model, path)
    status, _, error = said(capsys, snippets, path)
    assert status == 2 and "'image$(x)': expected a name without quotes" in error
    model.signatureDefs = []
    flatbuffer.write(model, path)
    status, _, error = said(capsys, snippets, path)
    assert status == 2 and "expected a file of one signature" in error and "0 signatures" in error
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"kind": "sound", "rate": 16000}, "; samples of sound from -1 to 1, 16000 in a second"),
        ({"kind": "sequence", "rate": 49.99999999999996}, "; samples of sensors, 50 in a second"),
        ({"kind": "image", "fit": "pad"}, "; pictures of another aspect ratio: pad with black"),
        ({"kind": "image", "fit": "stretch"}, "; pictures of another aspect ratio: stretch"),
        ({"kind": "vector"}, ""),
        ({}, ""),
    ],
)
def test_code_says_what_its_input_takes(about, expected):
    assert told_of(about) == expected
