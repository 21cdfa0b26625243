"""Every word of recipes on sound, sensors and detectors of anomalies: each works on the file, or is refused at once.

A file that works is compared with its own model: what a recipe loses in training is not counted here.
"""

import functools

import numpy as np
import pytest

from compression import api
from tests.zoo.data.sound.test_sound import folder as tones
from tests.zoo.tasks.test_anomaly_sound import SETTINGS as OF_HUMS
from tests.zoo.tasks.test_anomaly_sound import folder as hums
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.training.loop import train

# Columns in units of their own, which standardisation keeps in float32.
COMMON = {"batch_size": 16, "learning_rate": 1e-2, "epochs": 6}
WINDOWS = {"window": 16, "hop": 8, "columns": ("a", "b"), "label_column": "label", "group_column": "who"}
RUNS = {
    "ds_cnn": {"model": "ds_cnn", "settings": {"filters": 8, "num_blocks": 1, "dropout": 0.0}, "data": "tones"},
    "tc_resnet": {"model": "tc_resnet", "settings": {"num_blocks": 3, "alpha": 0.5}, "data": "tones"},
    "conv1d": {"model": "conv1d", "settings": {"filters": (8, 16, 8)}, "data": "motion.csv", **WINDOWS},
    "tcn": {"model": "tcn", "settings": {"filters": (8, 8)}, "data": "motion.csv", **WINDOWS},
    "lstm": {"model": "lstm", "settings": {"units": (8,)}, "data": "motion.csv", **WINDOWS},
    **{
        f"{model} on sound": {"model": model, "task": "anomaly", "settings": settings, "data": "hums"}
        for model, settings in OF_HUMS.items()
    },
    **{
        f"{model} on sensors": {
            "model": model,
            "task": "anomaly",
            "settings": settings,
            "data": "motion.csv",
            "normal_class": ("still",),
            **WINDOWS,
        }  # fmt: skip
        for model, settings in (
            ("autoencoder", {"units": (16,), "code": 3}),
            ("autoencoder_conv", {"filters": (8, 8), "code": 3}),
        )
    },
}
RECIPES = (
    *("float32", "float16", "dynamic", "int8", "int16x8", "int4", "int4(rounding=nearest)", "int8(rounding=learnt)"),
    *("dynamic(per_tensor=true)", "int8(equalize=true, correct_bias=true, ranges=mse)", "int8(skip=head)"),
    *("prune(0.5) + int8", "prune(0.5) + int4", "cluster(8) + int8", "cluster(8) + dynamic"),
    *("qat + int8", "qat + dynamic", "qat + int4", "qat + int16x8"),
    *("channels(0.5) + float32", "channels(0.5) + qat + int8", "distill(TEACHER) + int8"),
    *("channels(0.3) + prune(0.5) + cluster(8) + qat + int8", "channels(0.5) + distill(TEACHER) + int8"),
)
# Reasons of refusals, by a word of the recipe and a part of the run's name.
REFUSED = {
    ("int16x8", ""): "int16x8: the converter cannot leave (front|standardize) in float32",
}
# Cells of the quick tests.
QUICK = {("ds_cnn", "int16x8")}
# Cells whose anomalies lie beyond the integer ranges, which are of normal examples: their scores are cut off, and the
# threshold, the score of a normal example, tells whether the file is right.
CUT = {("autoencoder_conv on sound", "prune(0.5) + int8"), ("autoencoder_conv on sound", "cluster(8) + int8")}
# Largest part by which scores of anomalies may differ, as a share of their spread, and least share of equal answers.
SCORES, ANSWERS = 0.3, 0.9


def motion(path):
    """Write recordings of eight subjects with a small and a large column: still, shaken or turned."""
    rng = np.random.default_rng(0)
    shake, turn = {"still": 0.01, "shake": 0.5, "turn": 0.01}, {"still": 0, "shake": 0, "turn": 300}
    rows = [
        f"{shake[what] * np.sin(1.3 * i) + 0.02 * rng.normal():.4f},"
        f"{1000 + turn[what] * np.sin(i / 5) + 5 * rng.normal():.2f},{what},s{who}"
        for who in range(8)
        for what in shake
        for i in range(60)
    ]
    path.write_text("\n".join(["a,b,label,who", *rows]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a run of the table once, and gives its folder."""
    place = tmp_path_factory.mktemp("signals")
    tones(place / "tones", count=40)
    hums(place / "hums", 0.1)
    motion(place / "motion.csv")

    @functools.cache
    def run(name):
        words, folder = COMMON | RUNS[name], place / name.replace(" ", "-")
        train(TrainConfig(**words | {"data": place / words["data"], "output": folder}), verbose=False)
        return folder

    return run


def reason(name, recipe):
    return next((why for (word, part), why in REFUSED.items() if word in recipe and part in name), None)


CELLS = [
    pytest.param(name, recipe, marks=[] if (name, recipe) in QUICK else [pytest.mark.slow], id=f"{name}: {recipe}")
    for name in RUNS
    for recipe in RECIPES
]


@pytest.mark.parametrize(("name", "recipe"), CELLS)
def test_a_recipe_works_on_the_file_or_is_refused_before_work(name, recipe, trained, tmp_path, monkeypatch):
    run = trained(name)
    recipe = recipe.replace("TEACHER", str(run))
    if why := reason(name, recipe):
        monkeypatch.setattr("compression.pipeline.stages.run", lambda *_, **__: pytest.fail("began to work"))
        with pytest.raises(UsageError, match=why):
            api.compress(run, recipe, output=tmp_path / "files")
        assert not list(tmp_path.rglob("*.tflite"))
        return
    receipt = api.compress(run, recipe, output=tmp_path / "files").receipt
    file, theirs, parity = receipt["test"]["litert"], receipt["test"]["keras"], receipt["parity"]
    if "accuracy" in file:
        assert parity["same_answer"] >= ANSWERS and file["accuracy"] >= theirs["accuracy"] - 0.1
    else:
        assert file["auc"] >= theirs["auc"] - 0.05
        if (name, recipe) in CUT:
            assert file["threshold"] == pytest.approx(theirs["threshold"], rel=0.02)
        else:
            assert parity["score_difference"] <= SCORES
    if receipt["made"]["recipe"].endswith("float32"):
        assert parity["largest_difference"] < 1e-3
