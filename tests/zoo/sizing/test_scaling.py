import dataclasses

import pytest

from tests.conftest import run_module
from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.sizing import scaling, widths

PIXELS = DataSpec("pixels", "image", (8, 8, 1), ("0", "1", "2"))
IMAGES = DataSpec("images", "image", (20, 20, 1), ("0", "1", "2"))
STEPS = DataSpec("steps", "sequence", (7, 5), ("0", "1", "2"))


def scaled(name, spec=PIXELS, *, target="params", budget, fixed=(), **settings):
    config = TrainConfig(model=name, settings=settings)
    free = widths.scalable(name, config.settings, dict.fromkeys(fixed), "--target")
    return scaling.scaled(config, spec, free, target=target, budget=budget, option="--target")


def perceptron(units, inputs=64, classes=3):
    sizes = [inputs, *units, classes]
    return sum((before + 1) * after for before, after in zip(sizes, sizes[1:], strict=False))


@pytest.mark.parametrize("name", [name for name in registry.MODELS if registry.widths(name)])
def test_widths_are_arguments_of_the_constructor_and_stay_what_divides(name):
    declared = registry.widths(name)
    assert declared == registry.model_class(name).WIDTHS
    assert set(declared) <= set(registry.arguments(name))
    steps = widths.multiples(name, {"num_heads": 3, "key_dim": 8})
    base = widths.scalable(name, registry.parse_settings(name, {}), {}, "--target")
    for factor in (0, 0.1, 0.77, 1, 1.5, 10.3):
        for key, found in widths.at(base, steps, factor).items():
            every = found if isinstance(found, tuple) else (found,)
            assert all(width > 0 and abs(width / steps[key] - round(width / steps[key])) < 1e-4 for width in every)
    assert steps.get("model_dim", 3) == 3


def test_the_largest_factor_within_the_budget_by_the_closed_form():
    found = scaled("simplenet", budget=5_000)  # 68 u + 3
    assert found.widths == {"units": (73,)} and found.reached == 68 * 73 + 3 == perceptron((73,))
    assert scaled("simplenet", budget=4_967).widths == {"units": (73,)}
    assert scaled("simplenet", budget=4_966).widths == {"units": (72,)}

    found = scaled("lenet300", budget=20_000)
    at = [widths.at({"units": (300, 100)}, {"units": 1}, i / 10_000)["units"] for i in range(10_000)]
    assert found.widths["units"] == max((u for u in at if perceptron(u) <= 20_000), key=perceptron)
    assert found.reached == perceptron(found.widths["units"])


def test_what_is_fixed_stays_and_what_a_model_does_not_use_is_not_scaled():
    found = scaled("cnn", IMAGES, budget=20_000, fixed=["units"], units=64)
    assert set(found.widths) == {"filters"} and found.reached <= 20_000
    assert set(scaled("lstm", STEPS, budget=20_000).widths) == {"units"}  # no tokens, no embedding
    assert set(scaled("cnn_12", budget=2_000).widths) == {"filters"}  # its units are 0


def test_a_budget_below_the_smallest_names_it():
    with pytest.raises(
        UsageError, match=r"--target: expected at least 71, the cost of simplenet at its smallest widths \(units 1"
    ):
        scaled("simplenet", budget=70)
    assert scaled("simplenet", budget=71).widths == {"units": (1,)}


TRACED = [pytest.param("flops", name, marks=pytest.mark.slow) for name in ("self_attention", "transformer", "gan")]
TRACED += [pytest.param("params", name, marks=pytest.mark.slow) for name in ("self_attention", "gan_dense")]
BUILT = [("params", "cnn"), ("params", "transformer"), ("params", "gan")]


@pytest.mark.parametrize(("target", "name"), [*BUILT, ("flops", "cnn"), *TRACED])
def test_a_built_model_meets_the_budget_and_slightly_larger_widths_exceed_it(target, name):
    spec = dataclasses.replace(IMAGES, task=registry.entry(name).task)
    config = TrainConfig(model=name)
    count = {"params": scaling.parameters, "flops": scaling.flops}[target]
    budget = count(config, spec) // 3
    found = scaled(name, spec, target=target, budget=budget)
    assert 0 < found.factor < 1 and found.reached <= budget
    values = config.settings | found.widths
    assert count(dataclasses.replace(config, settings=values), spec) == found.reached
    base = widths.scalable(name, config.settings, {}, "--target")
    steps = widths.multiples(name, config.settings)
    more = widths.at({key: base[key] for key in found.widths}, steps, found.factor * (1 + 1e-6))
    assert more != found.widths
    assert count(dataclasses.replace(config, settings=config.settings | more), spec) > budget


def test_parameters_are_those_of_a_model_with_values():
    model = registry.model_class("cnn")(3, filters=(4, 5), pools=1, units=6)
    model.build((None, 8, 8, 1))
    config = TrainConfig(model="cnn", settings={"filters": (4, 5), "pools": 1, "units": 6})
    assert scaling.parameters(config, PIXELS) == model.count_params()


def dense(inputs, outputs):
    return 2 * inputs * outputs + outputs


def test_flops_of_dense_and_convolution_by_the_closed_form():
    config = TrainConfig(model="lenet300")
    assert scaling.flops(config, PIXELS) == dense(64, 300) + dense(300, 100) + dense(100, 3)
    config = TrainConfig(model="cnn", settings={"filters": (4, 5), "pools": 0, "units": 6})
    first = 6 * 6 * 4 * (2 * 3 * 3 * 1 + 1)
    second = 4 * 4 * 5 * (2 * 3 * 3 * 4 + 1)
    assert scaling.flops(config, PIXELS) == first + second + dense(4 * 4 * 5, 6) + dense(6, 3)


def test_flops_of_a_recurrence_are_those_of_all_its_steps():
    config = TrainConfig(model="lstm", settings={"units": (6,)})
    unrolled = dataclasses.replace(config, settings=config.settings | {"unroll": True})
    found = scaling.flops(config, STEPS)
    assert found == scaling._operations(unrolled, STEPS)
    assert found >= 7 * 2 * (5 + 6) * 4 * 6  # the products of seven steps


_ON_JAX = """
from strategies import backend
backend.start("jax")
from tests.zoo.sizing import test_scaling as here
from zoo.sizing import scaling
from zoo.config.train_config import TrainConfig
found = scaling.flops(TrainConfig(model="lenet300"), here.PIXELS)
print(found)
print(here.scaled("gan", here.dataclasses.replace(here.PIXELS, task="generation"), budget=50_000).widths)
"""


@pytest.mark.slow
def test_on_jax_the_products_are_counted_alike(tmp_path):
    flops, gan = run_module("-c", _ON_JAX, cwd=tmp_path, check=0).stdout.splitlines()
    products = 2 * (64 * 300 + 300 * 100 + 100 * 3)
    assert products <= int(flops) <= products + 4 * 403  # plus biases and activations
    spec = dataclasses.replace(PIXELS, task="generation")
    assert gan == str(scaled("gan", spec, budget=50_000).widths)
