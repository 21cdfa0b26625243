import importlib.util
import json
import os
import subprocess
import sys

import pytest

from strategies import StrategyError, build, engine, tpu, tpu_check
from tests.conftest import ROOT, run_module
from zoo.config import registry


def test_where_a_tpu_was_looked_for_is_said(monkeypatch):
    monkeypatch.setattr(tpu, "found", list)
    with pytest.raises(StrategyError, match=r"found none; looked for /dev/accel\*.*TPU_NAME.*strategies.tpu_check"):
        build("tpu")


def test_signs_of_a_tpu(monkeypatch, tmp_path):
    monkeypatch.setattr(tpu, "DEVICES", (f"{tmp_path}/accel*",))
    for name in tpu.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert tpu.found() == []
    (tmp_path / "accel0").touch()
    monkeypatch.setenv("TPU_NAME", "local")
    assert tpu.found() == [f"{tmp_path}/accel0", "TPU_NAME"]


def test_the_engine_is_tensorflow_where_it_is_built_for_the_tpu(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert engine("tpu") == "jax"
    monkeypatch.setattr(tpu.importlib.metadata, "version", {"tensorflow-tpu": "2.20.0"}.__getitem__)
    assert engine("tpu") == "tensorflow"


@pytest.mark.slow
def test_a_tpu_that_tensorflow_does_not_see_is_one_sentence(monkeypatch):
    """Test the path through TPUStrategy as far as possible without a TPU."""
    monkeypatch.setattr(tpu, "tensorflow_is_built_for_it", lambda: True)
    monkeypatch.setattr(tpu, "found", lambda: ["/dev/accel0"])
    with pytest.raises(
        StrategyError, match="found /dev/accel0 on this host, but TensorFlow finds no TPU: TPUs not found"
    ):
        build("tpu")


def test_topologies():
    assert tpu.parse_topology("v5e:2x4") == ("v5e", 8)
    assert tpu.parse_topology("v6e:16x16") == ("v6e", 256)
    for text in ("v5e", "v5e:3x5", "v9:2x4", ":", "v5e:2x4x1"):
        with pytest.raises(StrategyError, match=r"--topology .*: expected v5e or v6e, a colon, and one of 1x1"):
            tpu.parse_topology(text)


# Lines of a compiled program: (results), operator. Asynchronous operators return operands and results.
PROGRAM = """
  %all-reduce.1 = (f32[]{:T(128)}, bf16[3,3,1,32]{3,2,1,0:T(2,128)S(1)}, f32[10]{0}) all-reduce(%a, %b), to_apply=%x
  %all-reduce.2 = f32[64,10]{0,1:T(8,128)S(1)} all-reduce(%c), channel_id=2
  %all-gather-start = (bf16[8]{0}, bf16[64]{0}) all-gather-start(%d), dimensions={0}
  %all-gather-done = bf16[64]{0} all-gather-done(%all-gather-start)
  %fusion = f32[4]{0} fusion(%all-reduce.2), kind=kLoop
"""


def test_collectives_are_counted_with_their_bytes():
    assert tpu.collectives(PROGRAM) == {
        "all-reduce": (2, 4 + 2 * 288 + 40 + 4 * 640),
        "all-gather": (1, (16 + 128) // 2),
    }


def test_least_times_by_hand():
    chip = tpu.Chip(16e9, 100.0, 10.0, 8.0, 1.0)
    needs = tpu.Compiled(4, 0, 200.0, 50.0, {"all-reduce": (1, 16)}, 0.0)
    assert tpu.least_seconds(needs, chip) == {"compute": 2.0, "memory": 5.0, "all_reduce": 2 * 16 * 3 / 4 / 4}


@pytest.mark.parametrize(("words", "message"), [
    (["cn"], "did you mean 'cnn'"),
    (["cnn", "--topology", "v5e:2x3"], "--topology v5e:2x3: expected"),
    (["cnn", "--batch-size", "12"], "--batch-size 12: expected a multiple of the 8 chips of v5e:2x4"),
    (["cnn", "--precision", "int8"], "--precision: expected one of bfloat16, float32, received 'int8'"),
    (["cnn", "--set", "filtres=3"], "did you mean 'filters'"),
])  # fmt: skip
def test_mistakes_are_told_at_once(words, message, capsys):
    assert tpu_check.main(words) == 2
    assert message in capsys.readouterr().err


EXPORTS = """
import json
from strategies import backend
backend.start("jax")
import jax, keras
from jax import export
from strategies import tpu, tpu_check
from zoo.config import registry
sizes = {}
for name, entry in {entry.path: (name, entry) for name, entry in registry.MODELS.items()}.values():
    options = tpu_check.Options(model=name, batch_size=64)
    model, batch = tpu_check.example(name, dict(entry.preset), options)
    made = export.export(jax.jit(model.train_step), platforms=["tpu"])(tpu.state_of(model), batch)
    sizes[name] = [list(made.platforms), "bf16" in made.mlir_module(), len(made.mlir_module_serialized)]
print(json.dumps(sizes))
"""


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_every_models_train_step_exports_for_the_tpu(tmp_path):
    """Export with static shapes in bfloat16, on a machine without a TPU and its compiler."""
    words, environment = [sys.executable, "-c", EXPORTS], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    sizes = json.loads(done.stdout.splitlines()[-1])
    # One name for each class, because presets share its step.
    assert {registry.entry(name).path for name in sizes} == {entry.path for entry in registry.MODELS.values()}
    for name, (platforms, bfloat16, size) in sizes.items():
        assert platforms == ["tpu"] and bfloat16 and size > 5_000, name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu-check")
@pytest.mark.parametrize("topology", ["v5e:2x4", "v6e:2x4"])
def test_a_step_compiles_for_a_slice(topology, tmp_path):
    words = ("strategies.tpu_check", "cnn", "--topology", topology, "--batch-size", 1024, "--json")
    found = json.loads(run_module(*words, cwd=tmp_path, check=0).stdout)
    assert found["chips"] == 8 and found["fits"] and 1e6 < found["memory"] < 1e9
    parameters = 93_322
    # Gradients are exchanged in bfloat16, plus a few numbers of the loss and the metrics.
    _, size = found["collectives"]["all-reduce"]
    assert 2 * parameters <= size <= 2 * parameters + 10_000
    # 5.6 million multiply-adds per image forward, and twice as many backward.
    by_hand = 2 * (26**2 * 9 * 32 + 11**2 * 288 * 64 + 3**2 * 576 * 64 + 576 * 64 + 640)
    assert 2.5 * by_hand < found["flops"] / 128 < 3.5 * by_hand
