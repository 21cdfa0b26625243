"""`python -m benchmarks vision_throughput`: PyTorch trains the networks that the zoo trains."""

import pytest

from benchmarks.vision_throughput import CASES, table
from zoo.config import registry


@pytest.mark.parametrize("name", CASES)
def test_networks_of_pytorch_have_the_layers_of_the_zoo(name):
    torch = pytest.importorskip("torch", reason="needs the extra peers")
    from benchmarks.vision_pytorch import network

    case = CASES[name]
    model = registry.model_class(case.model)(
        **registry.entry(case.model).preset | {"num_classes": case.classes} | dict(case.settings)
    )
    model.build((None, *case.shape))
    theirs = network(case)
    shapes = sorted(sorted(weight.shape) for weight in model.trainable_weights)
    assert sorted(sorted(parameter.shape) for parameter in theirs.parameters()) == shapes
    height, width, channels = case.shape
    answers = theirs(torch.zeros(2, channels, height, width))
    assert answers.shape == ((2, case.classes, height, width) if case.masks else (2, case.classes))


def test_the_table_has_the_ratio_of_each_round():
    sides = {"zoo": [200.0, 400.0, 300.0], "plain Keras": [100.0, 100.0, 100.0]}
    rows = [
        {"model": "resnet8", "batch": 32, "side": side, "parameters": 1, "name": side, "rounds": values}
        for side, values in sides.items()
    ]
    assert table({"measured": rows})[-1] == "| resnet8, batch 32 | 300 | 100 | 3.00 (2.00 to 4.00) |  |  |  |  |"
