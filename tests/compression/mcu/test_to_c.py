"""A .tflite file as C, compiled, run and compared with the file and with LiteRT."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from compression import to_c
from compression.devices import micro
from compression.flatbuffers import flatbuffer
from compression.mcu import c_array
from tests.compression.test_commands import said
from tests.conftest import ROOT

LENET5 = ROOT / "benchmarks" / "results" / "lenet5-10144.tflite"
INT4 = ROOT / "benchmarks" / "results" / "lenet5-5936.tflite"  # int4 weights with float32 activations
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")
# Stand-ins for TFLite Micro's constants, in the order of lite/core/c/c_api_types.h.
TYPES = (
    "enum { kTfLiteNoType, kTfLiteFloat32, kTfLiteInt32, kTfLiteUInt8, kTfLiteInt64, kTfLiteInt8 = 9, kTfLiteOk = 0 };"
)

_SAYS = """
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "SYMBOL.h"
TYPES
int main(int count, char **words) {
    static const int in[] = UPPER_INPUT_0_DIMS, out[] = UPPER_OUTPUT_0_DIMS;
    if (count > 1 && !strcmp(words[1], "bytes"))
        return fwrite(SYMBOL_tflite, 1, SYMBOL_tflite_len, stdout) != SYMBOL_tflite_len;
    printf("%d\\n%s\\n%s\\n", (int)((uintptr_t)SYMBOL_tflite % 16), UPPER_INPUT_0_NAME, UPPER_OUTPUT_0_NAME);
    for (int i = 0; i < UPPER_INPUT_0_RANK; ++i) printf("%d ", in[i]);
    for (int i = 0; i < UPPER_OUTPUT_0_RANK; ++i) printf("%d ", out[i]);
    printf("%d %d %d %d\\n", UPPER_INPUT_0_ELEMENTS, UPPER_OUTPUT_0_ELEMENTS, UPPER_INPUT_0_TYPE, UPPER_OUTPUT_0_TYPE);
    printf("%a %d ", UPPER_INPUT_0_SCALE, UPPER_INPUT_0_ZERO_POINT);
    printf("%a %d\\n", UPPER_OUTPUT_0_SCALE, UPPER_OUTPUT_0_ZERO_POINT);
    return 0;
}
"""

_REGISTERS = """
#include <cstdio>
#include "SYMBOL.h"
TYPES
template <int count> struct Resolver {
    int left = count;
    int AddConv2D() { return said("CONV_2D"); }
    int AddFullyConnected() { return said("FULLY_CONNECTED"); }
    int AddMaxPool2D() { return said("MAX_POOL_2D"); }
    int AddReshape() { return said("RESHAPE"); }
    int AddSoftmax() { return said("SOFTMAX"); }
    int said(const char *name) { std::printf("%s ", name); return left-- > 0 ? kTfLiteOk : 1; }
};
int main() {
    Resolver<UPPER_OPERATORS> enough;
    Resolver<UPPER_OPERATORS - 1> few;
    return !UPPER_ADD_OPERATORS(enough) || enough.left || UPPER_ADD_OPERATORS(few) || SYMBOL_tflite_len != LENGTH;
}
"""


def compiler(*names):
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"no C compiler: none of {', '.join(names)} on PATH")


def compiled(folder, name, program, *words, length=0):
    """Compile a program with a generated array, and return the path of the executable."""
    filled = {"TYPES": TYPES, "UPPER": f"{name.upper()}_TFLITE", "SYMBOL": name, "LENGTH": str(length)}
    for placeholder, value in filled.items():
        program = program.replace(placeholder, value)
    (folder / "main.c").write_text(program)
    subprocess.run([*words, *STRICT, "main.c", f"{name}.c", "-o", "program"], cwd=folder, check=True, timeout=120)
    return folder / "program"


def output(program, *words):
    return subprocess.run([program, *words], check=True, capture_output=True, timeout=60).stdout


def test_the_compiled_array_equals_the_file_and_its_constants_match_litert(tmp_path, capsys):
    status, out, error = said(capsys, to_c, LENET5, "--output", tmp_path / "made")
    assert status == 0, error
    assert out.splitlines()[-2:] == [str(tmp_path / "made" / f"lenet5_10144.{suffix}") for suffix in ("h", "c")]
    program = compiled(tmp_path / "made", "lenet5_10144", _SAYS, compiler("cc", "gcc", "clang"), "-std=c11")
    assert output(program, "bytes") == LENET5.read_bytes()
    lines = output(program).decode().splitlines()
    interpreter = Interpreter(str(LENET5))
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    (ends,) = interpreter.get_signature_list().values()
    assert lines[0] == "0" and lines[1:3] == [*ends["inputs"], *ends["outputs"]]
    sizes = [*given["shape"], *made["shape"], np.prod(given["shape"]), np.prod(made["shape"]), 9, 9]
    assert [int(word) for word in lines[3].split()] == sizes
    assert given["dtype"] == made["dtype"] == np.int8
    scale, zero, other_scale, other_zero = lines[4].split()
    assert (float.fromhex(scale), int(zero)) == given["quantization"]
    assert (float.fromhex(other_scale), int(other_zero)) == made["quantization"]


def test_the_source_compiles_as_cpp_and_registers_each_operator_once(tmp_path, capsys):
    assert said(capsys, to_c, LENET5, "--output", tmp_path, "--name", "digit")[0] == 0
    words = (compiler("c++", "g++", "clang++"), "-x", "c++", "-std=c++11")
    program = compiled(tmp_path, "digit", _REGISTERS, *words, length=LENET5.stat().st_size)
    assert output(program).decode().split() == list(flatbuffer.operators(flatbuffer.read(LENET5))) * 2


def test_names_from_a_file_are_escaped_in_c(tmp_path, capsys):
    name = 'a "name"\n#error ??/ \\'
    model = flatbuffer.read(LENET5)
    model.signatureDefs[0].inputs[0].name = name
    path = tmp_path / 'odd"\n7 ??.tflite'
    flatbuffer.write(model, path)
    status, _, error = said(capsys, to_c, path)
    assert status == 0, error
    words = (compiler("cc", "gcc", "clang"), "-std=c11", "-trigraphs", "-Wno-trigraphs")
    lines = output(compiled(tmp_path, "odd_7", _SAYS, *words)).decode()
    assert f"0\n{name}\nprobabilities\n" in lines


def test_json_agrees_with_the_header(tmp_path, capsys):
    status, out, _ = said(capsys, to_c, LENET5, "--output", tmp_path, "--json")
    found = json.loads(out)
    assert status == 0 and found["hindrances"] == [] and found["bytes"] == 10144
    assert found["methods"] == ["AddConv2D", "AddFullyConnected", "AddMaxPool2D", "AddReshape", "AddSoftmax"]
    assert found["sha256"] in (tmp_path / "lenet5_10144.h").read_text()


def test_the_arena_bound_is_the_peak_of_live_tensors():
    # The peak is at the first pooling, with its input and output; the first convolution has 28x28 pixels instead of
    # the pooled output.
    assert micro.arena_at_least(flatbuffer.read(LENET5)) == 24 * 24 * 6 + 12 * 12 * 6


@pytest.mark.parametrize("operator", ["GELU", "FlexErf"])
def test_an_unsupported_operator_is_named(operator, tmp_path, capsys):
    model = flatbuffer.read(LENET5)
    (code,) = (c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX)
    code.builtinCode = getattr(schema.BuiltinOperator, operator, schema.BuiltinOperator.CUSTOM)
    code.deprecatedBuiltinCode, code.customCode = min(code.builtinCode, 127), operator
    path = tmp_path / "model.tflite"
    flatbuffer.write(model, path)
    status, _, error = said(capsys, to_c, path)
    assert status == 2 and f"it has no {operator}" in error and "--force" in error
    assert list(tmp_path.iterdir()) == [path]
    status, out, _ = said(capsys, to_c, path, "--force")
    assert status == 0 and f"it has no {operator}" in out
    text = (tmp_path / "model.h").read_text()
    assert f'// TFLite Micro cannot run this file: "it has no {operator}"' in text and "AddSoftmax" not in text


def test_unsupported_weight_types_are_named(tmp_path, capsys):
    status, _, error = said(capsys, to_c, INT4, "--output", tmp_path)
    assert status == 2 and "int4 weights for float32 activations (CONV_2D)" in error and "recipes int8" in error


def test_methods_are_named_after_operators():
    assert micro.method("UNIDIRECTIONAL_SEQUENCE_LSTM") == "AddUnidirectionalSequenceLSTM"
    assert micro.method("PADV2") == "AddPadV2" and micro.method("SignalRfft") == "AddRfft"
    known = {name for name in vars(schema.BuiltinOperator) if micro.method(name)}
    assert len(known) == len(micro._METHODS)  # every method belongs to an operator of the schema


def test_invalid_arguments_are_usage_errors(tmp_path, capsys):
    assert "found none" in said(capsys, to_c, tmp_path / "absent.tflite")[2]
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(LENET5.read_bytes()[:3000])
    assert "cut short or altered" in said(capsys, to_c, damaged)[2]
    model = flatbuffer.read(LENET5)
    model.subgraphs[0].tensors[0].type = 99  # not a TensorType
    flatbuffer.write(model, damaged)
    assert "cut short or altered (99)" in said(capsys, to_c, damaged)[2]
    damaged.write_bytes(b"not a model")
    assert "expected a TFLite flatbuffer" in said(capsys, to_c, damaged)[2]
    status, _, error = said(capsys, to_c, LENET5, "--name", "2 fast")
    assert status == 2 and "--name: expected letters" in error
    status, _, error = said(capsys, to_c, LENET5, "--output", damaged)
    assert status == 2 and "expected a folder, found a file" in error
    (tmp_path / "mine.c").write_text("int main() {}")
    status, _, error = said(capsys, to_c, LENET5, "--output", tmp_path, "--name", "mine")
    assert status == 2 and "mine.c: exists, and was not made by to_c" in error
    assert not (tmp_path / "mine.h").exists()


def test_identifiers():
    assert [c_array.identifier(text) for text in ("int8", "prune(0.8) + int8", "7-é", "")] == [
        *("int8", "prune_0_8_int8"),
        *("model_7", "model"),
    ]
