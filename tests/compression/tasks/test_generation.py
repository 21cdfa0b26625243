"""Runs that draw images as .tflite files: the generator alone, without normalisations, and what recipes teach it."""

import keras
import numpy as np
import pytest

from compression import compress, sensitivity, verify
from compression.pipeline import pipeline, source
from compression.receipts.artifacts import read_receipt
from compression.recipes.options import StageTraining
from compression.runtime import litert
from compression.tasks.generation import Generation
from tests.compression.conftest import altered
from tests.compression.tasks.conftest import SAMPLES
from zoo.introspection.layers import with_itself
from zoo.models import GAN
from zoo.runs.folder import RunFolder
from zoo.tasks.parts import drawing
from zoo.tasks.parts.imitation import psnr


@pytest.fixture(scope="module")
def loaded(generation_run):
    return source.open_run(generation_run, {}, any_task=True).load()


@pytest.mark.parametrize("architecture", ["dcgan", "dense"])
def test_the_generator_of_a_file_draws_what_the_average_draws(architecture):
    """Normalisations moved into kernels, with averages and scales that are not those they are built with."""
    keras.utils.set_random_seed(1)
    model = GAN(3, conditional=True, latent_size=5, architecture=architecture, filters=(6, 4), units=(7, 9))
    model.build((None, 8, 12, 1))
    rng = np.random.default_rng(0)
    for variable in model.average.variables:
        low = 0.2 if "variance" in variable.path else -1.0
        variable.assign(rng.uniform(low, 0.4, variable.shape))
    codes = drawing.codes(model, 20, 0, np.arange(20) % 3)
    plain = Generation.exported(model, None)
    assert not [layer for layer in with_itself(plain) if isinstance(layer, keras.layers.BatchNormalization)]
    np.testing.assert_allclose(plain(codes), model.sample(codes), atol=1e-5)
    assert np.ptp(np.asarray(plain(codes)), axis=0).max() > 0.1  # else this would say nothing


@pytest.fixture(scope="module")
def made(generation_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for recipe in ("float32", "int8"):
        assert compress.main([str(generation_run), "--recipe", recipe, "--output", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "pixels"), [("float32", 1e-5), ("int8", 0.1)])
def test_a_file_draws_the_runs_own_images_and_says_how_near_they_are(recipe, pixels, made, loaded, generation_run):
    model, data = loaded
    path = made / f"{recipe}.tflite"
    labels = np.resize(np.random.default_rng(0).permutation(data.test.y), SAMPLES)
    codes = drawing.codes(model, SAMPLES, 0, labels)
    images, expected = litert.run(path, codes), np.asarray(model.sample(codes))
    assert np.abs(images - expected).max() < pixels and images.min() >= 0 and images.max() <= 1
    receipt = read_receipt(path)
    assert receipt["parity"]["largest_difference"] == pytest.approx(np.abs(images - expected).max(), abs=1e-5)
    assert receipt["test"]["litert"]["psnr"] == pytest.approx(psnr(images, expected), abs=0.01)
    assert receipt["test"]["keras"]["psnr"] == 100 and receipt["test"]["examples"] == SAMPLES
    run = RunFolder(generation_run).read_metrics()["test"]
    theirs = receipt["test"]["keras"]["against_real"]
    assert theirs["compared_in"] == run["compared_in"] == f"the features of {generation_run.parent / 'classifier'}"
    assert theirs["frechet_distance"] == pytest.approx(run["frechet_distance"], rel=1e-3)
    assert theirs["as_asked"] == run["as_asked"]
    assert receipt["float32_weight_bytes"] == 4 * sum(v.numpy().size for v in Generation.exported(model, None).weights)
    assert receipt["about"]["labels"] == ["low", "middle", "high"] and "then a 1 for the class" in str(receipt["about"])
    assert (made / f"{recipe}.labels.txt").read_text() == "low\nmiddle\nhigh\n"


@pytest.mark.slow
def test_a_receipt_is_reproduced_and_a_difference_is_named(made, generation_run, capsys):
    path = made / "int8.tflite"
    assert verify.main([str(path), str(generation_run)]) == 0
    assert "dB against the run's own images, Frechet distance" in capsys.readouterr().out
    receipt = path.with_suffix(".receipt.json")
    text = receipt.read_text()
    altered(path, lambda stored: stored["test"]["litert"]["against_real"].update(frechet_distance=1e3))
    assert verify.main([str(path), str(generation_run)]) == 1
    assert "against_real.frechet_distance: the receipt says" in capsys.readouterr().err
    receipt.write_text(text)


@pytest.mark.slow
def test_a_receipt_does_not_depend_on_the_processor_that_drew_the_images(made, generation_run, monkeypatch, capsys):
    predict = keras.Model.predict

    def elsewhere(self, *words, **options):
        return np.nextafter(predict(self, *words, **options), np.float32(0.5))  # the last bit of every pixel

    monkeypatch.setattr(keras.Model, "predict", elsewhere)
    assert verify.main([str(made / "int8.tflite"), str(generation_run)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "recipe",
    [
        "prune(0.5, budget=layer, epochs=2) + float32",
        pytest.param("cluster(8, epochs=2) + dynamic", marks=pytest.mark.slow),
        pytest.param("prune(0.5, budget=layer, epochs=2) + qat(epochs=2) + int8", marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("dynamic", marks=pytest.mark.slow),
        pytest.param("int16x8", marks=pytest.mark.slow),
        pytest.param("int4", marks=pytest.mark.slow),
    ],
)
def test_recipes_learn_from_the_generator_itself(recipe, loaded, generation_run, tmp_path):
    model, data = loaded
    training = source.open_run(generation_run, {}, any_task=True).config
    before = [v.numpy() for v in model.variables]
    result = pipeline.compress(model, data, recipe, tmp_path, training=StageTraining(training))
    assert result.receipt["test"]["litert"]["psnr"] > 20
    if "prune" in recipe:
        shape = [36, model.code_size]  # of the first map
        kernel = next(row for row in result.receipt["constants"] if row["shape"] == shape)
        assert kernel["zeros"] == pytest.approx(0.5 * np.prod(shape), abs=4)
        history = (result.path.parent / result.receipt["made"]["stages_folder"] / "1-prune" / "history.csv").read_text()
        losses = [float(line.split(",")[1]) for line in history.splitlines()[1:]]
        assert losses[-1] < 0.05  # squared pixels: it imitates, and plays no game
    assert pipeline.verify(result.path, model, data)[1] == []
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "channels(0.5) + int8"], "channels of a run that draws images: the channels of transposed"),
        (
            ["--recipe", "distill(elsewhere) + int8"],
            "distill of a run that draws images: every recipe that trains learns",
        ),
        (
            ["--recipe", "int8", "--uint8-input"],
            "--uint8-input: expected a run that classifies images, this one draws",
        ),
        (["--recipe", "int8", "--beams", "2"], "--beams: expected a run that translates, this one draws images"),
        (["--recipe", "int8", "--skip-worst", "1"], "--skip-worst: expected a run that gives classes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(words, message, generation_run, tmp_path, capsys):
    assert compress.main([str(generation_run), *words, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1 and message in error and not list(tmp_path.iterdir())


def test_other_commands_and_models_are_refused(generation_run, loaded, tmp_path, capsys):
    assert sensitivity.main([str(generation_run)]) == 2
    assert "expected a run that gives classes, this one is for generation" in capsys.readouterr().err
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="expected a model with a generator, such as zoo.models.GAN"):
        pipeline.compress(plain, loaded[1], "float32", tmp_path)
