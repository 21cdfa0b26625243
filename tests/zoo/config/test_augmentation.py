"""The words of --augment: parsed and refused before Keras is imported."""

import re
import subprocess
import sys

import numpy as np
import pytest

from zoo import augment, train
from zoo.config import augmentation
from zoo.config.augmentation import Colour, Crop, CutMix, Erase, Flip, Mixup, RandAugment, Rotate, Shift, Zoom, parse
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import from_tf_data
from zoo.runs.continuing import differences
from zoo.training.data import check_data


def test_words_are_parsed_in_order_with_their_arguments():
    assert parse("flip + crop(4) + colour(0.2)") == (Flip(), Crop(4), Colour(0.2))
    assert parse("erase(probability=1, area=0.1)+cutmix + rotate(30)") == (Erase(1, 0.1), CutMix(1), Rotate(30))
    assert parse("flip(vertical) + crop(2, fill=black)") == (Flip("vertical"), Crop(2, "black"))
    assert parse(None) == parse("") == parse("none") == ()


def test_a_recipe_stands_for_its_words_and_may_be_joined_with_others():
    assert parse("light") == (Flip(), Crop(0.125))
    assert parse("standard + mixup(0.4)") == (Flip(), Crop(0.125), Rotate(15), Zoom(0.2), Colour(0.2), Mixup(0.4))
    assert any(isinstance(word, RandAugment) for word in parse("strong"))
    assert set(augmentation.RECIPES) == {"none", "light", "standard", "strong", "sound"}


def test_sizes_are_pixels_or_shares_of_the_side():
    assert Crop(4).most(32) == 4 and Crop(0.125).most(32) == 4 and Crop(0.125).most(96) == 12


def test_shift_is_the_first_word():
    assert TrainConfig(shift=2, augment="flip").augmentation == (Shift(2), Flip())
    assert TrainConfig(shift=2).augmentation == (Shift(2),) and TrainConfig().augmentation == ()


@pytest.mark.parametrize(("words", "message"), [
    (["--augment", "lihgt"], "unknown recipe or word 'lihgt': .*did you mean 'light'"),
    (["--augment", "flip + color"], "unknown recipe or word 'color': .*did you mean 'colour'"),
    (["--augment", "light + flip"], "flip is given twice; light is flip"),
    (["--augment", "crop(4, fil=black)"], "crop: no argument 'fil': expected one of size, fill; did you mean 'fill'"),
    (["--augment", "rotate(200)"], "rotate: degrees: expected a number from 0 to 180, received 200"),
    (["--augment", "shift"], "shift: pixels: expected a number from 1 to 256, received none"),
    (["--augment", "flip +"], "expected a recipe such as standard"),
    (["--augment", "flip", "--model", "transformer_lm"], "--augment flip .*: expected images, received tokens"),
    (["--augment", "flip", "--model", "gan"], "--augment flip .*: expected none for generation"),
    (["--augment", "mixup", "--model", "cross_modal"], "mixup mixes the classes of two examples"),
    (["--augment", "mixup", "--private", "dp(epsilon=3)"], "--private: expected --augment without mixup"),
    (["--augment", "strong", "--adversarial", "fgsm(eps=0.1)"], "--adversarial: expected --augment without cutmix"),
    (["--sampling", "balanced", "--class-weights", "balanced"], "expected one of them, together"),
    (["--focal-gamma", "2", "--model", "gan"], "--focal-gamma 2: expected a classifier, gan learns generation"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_in_a_sentence(words, message, capsys):
    assert train.main(words) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error


def test_the_list_of_words_needs_no_keras():
    code = "import sys; from zoo import augment; augment.run({}); assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(augment.run({})["words"]) == set(augmentation.WORDS)


def test_a_run_keeps_the_words_of_a_recipe():
    assert TrainConfig(augment="light + mixup").resolved().augment == "flip + crop(0.125) + mixup"
    assert TrainConfig(augment="none").resolved().augment is TrainConfig().resolved().augment is None
    stored = TrainConfig(augment="light").resolved()
    assert not differences(stored, {"augment": "light"}) and not differences(stored, {"augment": "flip+crop(0.125)"})
    assert differences(stored, {"augment": "strong"})


def test_data_that_are_not_images_are_refused_before_keras_is_imported(tmp_path):
    rows = "".join(f"good {i},a\nbad {i},b\n" for i in range(20))
    (tmp_path / "films.csv").write_text(f"text,label\n{rows}")
    code = (
        "import sys; from zoo import train; status = train.main(sys.argv[1:]); assert 'keras' not in sys.modules; "
        "sys.exit(status)"
    )
    words = ["--model", "lstm", "--data", tmp_path / "films.csv", "--augment", "flip", "--output", tmp_path / "run"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 2 and "--augment flip with films: flip: expected images, received tokens" in done.stderr


def test_floats_beyond_pixels_are_refused_where_they_would_be_cut_off():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 50, (9, 6, 6, 3)).astype("float32"), np.arange(9) % 3
    data = from_tf_data("mine", [(x, y)], [(x, y)])
    check_data(TrainConfig(augment="flip + mixup"), data)
    with pytest.raises(UsageError, match=r"--augment flip \+ colour: colour expects .* mine has values from -"):
        check_data(TrainConfig(augment="flip + colour"), data)
    pixels = from_tf_data("mine", [(abs(x) / 300, y)], [(x, y)])
    check_data(TrainConfig(augment="standard"), pixels)
