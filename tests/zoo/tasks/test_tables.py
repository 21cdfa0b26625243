"""Runs on tables, and numbers and several labels of pictures, texts and arrays."""

import json

import numpy as np
import pytest
from PIL import Image

from zoo import evaluate, predict, train

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    size, kind = rng.uniform(1, 3, 400), rng.choice(["a", "b", "c"], 400)
    y = 1e5 * size + 5e4 * (kind == "a")
    rows = [f"{s:.4f},{k},{v:.1f},{int(s > 2)},{int(k == 'a')}" for s, k, v in zip(size, kind, y, strict=True)]
    (folder / "t.csv").write_text("\n".join(["size,kind,price,is_big,is_a", *rows]))
    lines = ["image,age,is_dark,is_bright"]
    for i in range(60):
        level = int(rng.integers(0, 255))
        Image.fromarray(np.full((10, 10), level, np.uint8)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{level / 3:.1f},{int(level < 90)},{int(level > 170)}")
    (folder / "pictures.csv").write_text("\n".join(lines))
    (folder / "named.csv").write_text("\n".join(lines).replace("image", "file_name", 1))
    texts = [f"{'good' if i % 2 else 'bad'} film,{i % 2 + 0.5}" for i in range(60)]
    (folder / "texts.csv").write_text("\n".join(["text,stars", *texts]))
    x = rng.normal(size=(80, 4)).astype("float32")
    np.savez(folder / "v.npz", x=x, y=x[:, :2] * (1, 1000))
    return folder


def trained(place, *words, name):
    assert train.main([*words, "--batch-size", "16", "--learning-rate", "0.01", "--output", str(place / name)]) == 0
    return json.loads((place / name / "metrics.json").read_text())


def test_a_price_is_learnt_in_its_units_beside_gradient_boosting(place, capsys):
    words = ("--model", "tabular", "--set", "units=32", "--data", str(place / "t.csv"), "--target-column", "price")
    metrics = trained(place, *words, "--columns", "size,kind", "--quantiles", "0.1,0.9", "--epochs", "40", name="price")
    error = capsys.readouterr().err
    assert "2 columns" not in error and "inputs: 1 number, 1 category" in error
    assert metrics["test"]["r2"] > 0.95 and metrics["test"]["inside"] > 0.5
    assert metrics["baseline"]["name"].startswith("gradient boosting") and metrics["baseline"]["r2"] > 0.9
    report = (place / "price" / "report.html").read_text()
    assert "gradient boosting" in report and "true - predicted" in report and "Largest errors" in report
    assert predict.main([str(place / "price"), "size=2", "kind=a", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["values"][0] == pytest.approx(250_000, rel=0.2) and row["names"][1] == "price at 0.1"
    assert evaluate.main([str(place / "price"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rmse"] == metrics["test"]["rmse"]
    assert predict.main([str(place / "price"), str(place / "t.csv")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 401


@pytest.mark.slow
def test_classes_and_labels_of_rows(place):
    common = ("--model", "tabular", "--set", "units=16", "--data", str(place / "t.csv"))
    metrics = trained(
        place, *common, "--target-column", "kind", "--task", "classification", "--columns", "is_a,size", "--epochs",
        "6", name="kinds",
    )  # fmt: skip
    assert metrics["test"]["accuracy"] > 0.4 and "accuracy" in metrics["baseline"]
    metrics = trained(place, *common, "--label-columns", "is_*", "--columns", "!price", "--epochs", "12", name="labels")
    assert metrics["test"]["micro_f1"] > 0.8
    assert metrics["baseline"]["name"].startswith("one logistic") and len(metrics["baseline"]["also"]) == 1
    assert all(0 < row["threshold"] < 1 for row in metrics["per_class"])


@pytest.mark.parametrize(
    ("words", "score"),
    [
        pytest.param(("--model", "simplenet", "--task", "regression", "--target-column", "age", "--data",
                      "pictures.csv"), "rmse", marks=SLOW),
        (("--model", "simplenet", "--task", "multilabel", "--label-columns", "is_*", "--data", "pictures.csv"),
         "micro_f1"),
        pytest.param(("--model", "simplenet", "--task", "regression", "--target-column", "age", "--data", "named.csv"),
                     "mae", marks=SLOW),
        pytest.param(("--model", "lstm", "--set", "units=4", "--set", "embedding_dim=4", "--task", "regression",
                      "--target-column", "stars", "--data", "texts.csv"), "rmse", marks=SLOW),
        pytest.param(("--model", "simplenet", "--task", "regression", "--data", "v.npz"), "r2", marks=SLOW),
    ],
)  # fmt: skip
def test_pictures_texts_and_arrays_have_numbers_and_labels(words, score, place, monkeypatch):
    monkeypatch.chdir(place)
    metrics = trained(place, *words, "--epochs", "2", name=f"{words[1]}-{words[3]}-{score}")
    assert np.isfinite(metrics["test"][score])
    if words[-1] == "v.npz":
        assert [row["column"] for row in metrics["per_column"]] == ["y0", "y1"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "tabular"), "--model tabular: expected --data, a table"),
        (("--model", "tabular", "--data", "t.csv"), "expected --target-column, the column to predict"),
        (("--model", "tabular", "--data", "t.csv", "--target-column", "prise"), "did you mean 'price'"),
        (("--model", "tabular", "--data", "t.csv", "--target-column", "kind"), "expected numbers, received 'c'"),
        (("--model", "tabular", "--data", "t.csv", "--target-column", "price", "--task", "classification"),
         "--task regression predicts numbers"),
        (("--model", "tabular", "--data", "t.csv", "--label-columns", "size,is_a"), "expected 0 or 1 in 'size'"),
        (("--model", "tabular", "--data", "t.csv", "--label-columns", "is_a"), "expected two columns or more"),
        (("--model", "tabular", "--data", "t.csv", "--target-column", "price", "--quantiles", "2"), "--quantiles 2"),
        (("--model", "cnn", "--data", "t.csv"), "--model tabular --target-column NAME learns from columns"),
        (("--model", "lstm", "--data", "t.csv", "--text-column", "size", "--label-column", "kind"),
         "expected texts, received numbers such as"),
        (("--model", "cnn", "--task", "regression", "--data", "t.csv", "--target-column", "price"),
         "expected a table with a column image with the files of pictures"),
        (("--model", "cnn", "--data", "t.csv", "--target-column", "kind"), "--target-column: expected with --model"),
    ],
)  # fmt: skip
def test_wrong_words_end_in_a_sentence(words, sentence, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert train.main([*words, "--output", str(place / "none")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("zoo.train: ")]
    assert len(error) == 1 and sentence in error[0], error
