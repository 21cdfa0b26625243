"""An output layer that is fitted on features, against scikit-learn's own predictions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from zoo.training import features


@pytest.mark.parametrize("classes", [2, 4])
def test_the_layer_gives_the_probabilities_of_the_regression(classes):
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (classes, 6))
    y = np.arange(120) % classes
    x = (centres[y] + rng.normal(0, 0.7, (120, 6))) * [1, 10, 100, 1, 1, 0] + [0, 5, 50, 0, 0, 3]
    split = {"train": x[:80].astype("float32"), "validation": x[80:].astype("float32")}
    fitted = features.fit(split, {"train": y[:80], "validation": y[80:]}, classes)
    logits = split["validation"] @ fitted.kernel + fitted.bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    mean, deviation = split["train"].mean(0), split["train"].std(0)
    scaled = {name: (part - mean) / np.where(deviation > 0, deviation, 1) for name, part in split.items()}
    again = LogisticRegression(C=fitted.strength, max_iter=features.STEPS).fit(scaled["train"], y[:80])
    np.testing.assert_allclose(p / p.sum(1, keepdims=True), again.predict_proba(scaled["validation"]), atol=5e-3)
    assert fitted.accuracy == pytest.approx(again.score(scaled["validation"], y[80:]), abs=0.03)
    assert fitted.judged == "validation"


def test_a_class_without_an_example_is_never_the_answer():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    y = (x[:, 0] > 0) * 2
    fitted = features.fit({"train": x}, {"train": y}, 4)
    answers = (x @ fitted.kernel + fitted.bias).argmax(1)
    assert set(answers) == {0, 2} and (answers == y).mean() > 0.9 and fitted.judged == "train"
