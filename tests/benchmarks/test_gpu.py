"""The benchmark of one GPU: operations, peaks, its table, and its sides with tiny sizes on the CPU."""

import dataclasses
import importlib.util
import os

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import gpu
from benchmarks.gpu_sizes import CARDS, NETWORKS, QUICK, card_of, fitting_batch, flops, peak
from zoo.isolation import child


def test_the_operations_of_a_step_are_those_of_its_loops():
    cnn = NETWORKS["cnn"]
    first, second = 24 * 24 * 9 * 32, 10 * 10 * 9 * 32 * 64
    others = second + 3 * 3 * 9 * 64 * 64 + 576 * 64 + 64 * 10
    assert flops(cnn) == 2 * 512 * (2 * first + 3 * others)
    # He et al. (2016), table 1: 3.8e9 multiplications in a pass of ResNet-50; the first convolution has 1.18e8.
    one = dataclasses.replace(NETWORKS["resnet"], batch=1)
    assert (flops(one) / 2 + 112 * 112 * 49 * 3 * 64) / 3 == pytest.approx(3.8e9, rel=0.02)
    # 6 operations for each weight and token, and 12 x layers x width x tokens for attention (Chowdhery et al., 2022).
    model = dataclasses.replace(NETWORKS["transformer_lm"], batch=1)
    weights = 12 * 12 * 768**2 + 32_000 * 768
    assert flops(model) == 1024 * (6 * weights + 12 * 12 * 768 * 1024)


@pytest.mark.slow
def test_the_operations_are_about_those_that_the_compiler_counts():
    """XLA also counts elementwise operations, which a small network has many of."""
    network = dataclasses.replace(
        QUICK["transformer_lm"], settings=QUICK["transformer_lm"].settings | {"model_dim": 256, "ff_dim": 1024}
    )
    job = {"network": dataclasses.asdict(network), "on_gpu": False}
    found = child.run("benchmarks.gpu_zoo", job, seconds=200, once=True, environment={"JAX_PLATFORMS": "cpu"})
    assert found["xla_flops"] == pytest.approx(flops(network), rel=0.1)
    assert found["seconds"] > 0 and found["memory"] > 1e6


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        # Cards of similar names with other peaks, and a part of a card.
        *((name, None) for name in ("NVIDIA H100 PCIe", "NVIDIA GH200 480GB", "NVIDIA L40S", "CPU")),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
    ],
)
def test_cards_are_known_by_their_whole_names(name, card):
    assert card_of(name) == card


def test_a_share_is_of_the_peak_that_the_card_publishes():
    assert gpu.share(98.9e12, "NVIDIA H200", "bfloat16") == {"share": 0.1, "peak": "989 TFLOPS in bfloat16"}
    assert gpu.share(4.05e12, "Tesla T4", "float32") == {"share": 0.5, "peak": "8.1 TFLOPS in float32"}
    assert peak("T4", "bfloat16") == (65e12, "float16")
    assert gpu.share(1e12, "NVIDIA L40S", "bfloat16") == {}
    assert all(card.half > card.single for card in CARDS.values())


def test_the_batch_of_the_language_model_fits_the_card():
    batches = [fitting_batch(NETWORKS["transformer_lm"], size * 2**30) for size in (1, 16, 24, 40, 80, 141)]
    assert batches == [1, 4, 8, 16, 32, 32]


def test_sides_that_fail_are_rows_with_their_reason():
    row = {"network": "cnn", "batch": 512, "precision": "float32"}
    found = {"seconds": 0.002, "steps": 50, "memory": 3e9, "flops": 4e9, "framework": "jax 1", "parameters": 93322}
    rows = [
        {**row, "side": "zoo on JAX", **found, "xla_flops": 5e9, "share": 0.123, "peak": "67 TFLOPS in float32"},
        {**row, "side": "PyTorch", "failed": "OutOfMemoryError: a | b"},
        {**row, "side": "PyTorch, compiled", **found},
    ]
    text = gpu.render({"device": "NVIDIA H200", "rows": rows})
    start = "| cnn, batch 512, float32 |"
    assert f"{start} zoo on JAX | 2.00 | 256,000 | 3.00 | 2 | 12.3% of 67 TFLOPS in float32 |" in text
    assert f"{start} PyTorch | failed: OutOfMemoryError: a / b | | | | |" in text
    assert f"{start} PyTorch, compiled | 2.00 | 256,000 | 3.00 | 2 | unknown |" in text
    assert "the published peak of NVIDIA H200 is not known here" in text and "5e+09 by XLA" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_no_side_starts_when_the_time_is_over(monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS_OF_ALL", 0.0)
    rows = gpu.measure(None, quick=True)["rows"]
    assert [(row["network"], row["side"]) for row in rows] == [(n, s) for n in NETWORKS for s in gpu.SIDES]
    assert {row["failed"] for row in rows} == {"the 0 s of the benchmark were over"}


def test_a_machine_without_a_gpu_is_refused_before_work(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SystemExit) as ended:
        benchmarks.main(["gpu"])
    assert ended.value.code == 2
    assert "gpu: expected an NVIDIA GPU that nvidia-smi lists, found none" in capsys.readouterr().err
    assert gpu.missing(quick=True) is None


def test_the_driver_names_the_card(monkeypatch, tmp_path):
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho NVIDIA H200, 143771\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert gpu.gpu() == {"number": "1", "name": "NVIDIA H200", "memory": 143771 * 2**20}
    command.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    assert gpu.gpu() is None


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_side_runs_with_tiny_sizes_on_the_cpu(monkeypatch):
    monkeypatch.setattr(gpu, "SECONDS", 900.0)  # compiling for a CPU takes minutes on two cores
    monkeypatch.setattr(gpu, "SECONDS_OF_ALL", 3600.0)
    rows = gpu.measure(None, quick=True)["rows"]
    for row in rows:
        if row["side"] == "zoo on JAX" or importlib.util.find_spec("torch"):
            assert "failed" not in row, row
            assert row["seconds"] > 0 and row["memory"] > 1e6
        else:
            assert "torch" in row["failed"]
    for name in NETWORKS:
        assert len({row["parameters"] for row in rows if row["network"] == name and "failed" not in row}) == 1
