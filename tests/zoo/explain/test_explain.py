"""`python -m zoo.explain` on untrained runs of every class of model: what is drawn, and what is refused."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import blobs
from zoo import predict, tasks
from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec, load
from zoo.data.text import Vocabulary
from zoo.explain import __main__ as explain
from zoo.explain import pictures as explanation_pictures
from zoo.isolation import passed
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256, write_json

TEXTS = ("such a dull film , though the acting is fine", "we loved it")
BLOCKS = {"model_dim": 8, "num_heads": 2, "ff_dim": 8}
SIZES = {
    "cnn": {"filters": (3, 4, 5), "units": 4}, "lstm": {"units": (4,)}, "simplenet": {"units": (32,)},
    "self_attention": BLOCKS, **dict.fromkeys(("transformer", "transformer_lm", "transformer_seq2seq"),
                                              BLOCKS | {"num_layers": 1}),
}  # fmt: skip
SHAPES = {"image": (20, 18, 1), "vector": (6,), "sequence": (5, 3), "tokens": (12,), "pairs": (12,)}
PIXELS = ["saliency", "gradient_x_input"]
# What is drawn of each class of model and kind of data, unless told otherwise.
USUAL = {
    ("cnn", "image"): (["grad_cam", *PIXELS], []),
    ("simplenet", "image"): (PIXELS, []),
    ("simplenet", "vector"): (PIXELS, []),
    ("simplenet", "sequence"): (PIXELS, []),
    ("lstm", "image"): (PIXELS, []),
    ("lstm", "sequence"): (PIXELS, []),
    ("lstm", "tokens"): (["integrated_gradients"], []),
    ("self_attention", "image"): (PIXELS, ["attention"]),
    ("self_attention", "sequence"): (PIXELS, ["attention"]),
    ("self_attention", "tokens"): (["integrated_gradients"], ["attention"]),
    ("transformer", "image"): (PIXELS, ["attention"]),
    ("transformer", "sequence"): (PIXELS, ["attention"]),
    ("transformer", "tokens"): (["integrated_gradients"], ["attention"]),
    ("transformer_lm", "tokens"): ([], ["attention"]),
    ("transformer_seq2seq", "pairs"): ([], ["encoder", "decoder", "cross_attention"]),
}
# The others have the same layers.
FEW = {("cnn", "image"), ("simplenet", "vector"), ("transformer", "tokens"), ("transformer_lm", "tokens"),
       ("transformer_seq2seq", "pairs")}  # fmt: skip


def untrained(folder, name, spec, **options):
    """Write the folder of a run whose model has its first weights."""
    keras.utils.set_random_seed(0)
    config = TrainConfig(model=name, settings=SIZES[name], **options)
    task = tasks.of(spec.task)
    model = registry.model_class(name)(**task.arguments(config, spec))
    model.build(task.build_shape(spec))
    run = RunFolder(folder)
    run.write_config(config, spec.to_json(), [])
    model.save(run.model_file)
    passed.remember(sha256(run.model_file))  # as a training does
    found = {"test": {"examples": 1}, "epoch": 0, "epochs": 0, "seconds": 0.0, "parameters": model.count_params()}
    write_json(run.metrics_file, found | {"model_sha256": sha256(run.model_file)})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that returns the folder of a run of a model on a kind of data, made when it is first asked for."""
    place, runs = tmp_path_factory.mktemp("explained"), {}

    def run(name, kind):
        if (name, kind) in runs:
            return runs[name, kind]
        folder = place / f"{name}-{kind}"
        folder.mkdir()
        task = registry.entry(name).task
        vocabulary = None
        if kind in ("tokens", "pairs"):
            vocabulary = Vocabulary.train(TEXTS, 300 if task == "translation" else 50,
                                          "subword" if task == "translation" else "word",
                                          pairs=task == "translation")  # fmt: skip
            vocabulary.save(folder / "vocabulary.json")
        size, sha = (len(vocabulary), vocabulary.sha256) if vocabulary else (0, "")
        classes = ("high", "low", "middle") if task == "classification" else ()
        target = (10,) if task == "translation" else SHAPES[kind] if task == "language_model" else ()
        spec = DataSpec(
            "made", kind, SHAPES[kind], classes, vocabulary_size=size, task=task, target_shape=target,
            target_vocabulary_size=size if target else 0, vocabulary_sha256=sha,
            target_vocabulary_sha256=sha if target else "",
        )  # fmt: skip
        runs[name, kind] = untrained(folder, name, spec)
        return folder

    return run


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What to explain, for each kind of data."""
    place = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (30, 27)).astype("uint8")).save(place / "Some image.png")
    for kind in ("vector", "sequence"):
        np.savez(place / f"{kind}.npz", x=rng.normal(size=(1, *SHAPES[kind])).astype("float32"))
    (place / "broken.png").write_bytes(b"\x89PNG and no more")
    files = {kind: place / f"{kind}.npz" for kind in ("vector", "sequence")}
    return {"image": place / "Some image.png", **files, "tokens": TEXTS[0], "pairs": TEXTS[1]}


def results(words, capsys):
    assert explain.main([*map(str, words), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "kind"), [pytest.param(*pair, marks=[pytest.mark.slow] * (pair not in FEW)) for pair in USUAL]
)
def test_every_run_is_explained_by_what_suits_it(name, kind, made, given, tmp_path, capsys):
    run, (maps, parts) = made(name, kind), USUAL[name, kind]
    result = results([run, given[kind], "--output", tmp_path / "out"], capsys)
    (row,) = result["inputs"]
    assert result["path"] == str(tmp_path / "out")
    numbers = json.loads((tmp_path / "out" / row["numbers"].rpartition("/")[2]).read_text())
    assert (list(numbers["maps"]), list(numbers["attention"])) == (maps, parts)
    assert len(row["pictures"]) == len(parts) + (len(maps) if kind == "tokens" else bool(maps))
    for path in row["pictures"]:
        with Image.open(path) as picture:
            assert min(picture.size) > 200 and len(picture.convert("L").getcolors()) > 50
    tokens = [token.strip() for token in numbers.get("tokens", [])]
    for method, values in numbers["maps"].items():
        shape = (len(tokens),) if tokens else SHAPES[kind][:2]
        assert np.shape(values) == ((6, 6) if method == "grad_cam" else shape)  # conv_2; conv_3 has one position
        assert np.any(values)
    for part, layers in numbers["attention"].items():
        steps = len(tokens) or SHAPES[kind][0]
        rows = len(numbers["written"]) if part in ("decoder", "cross_attention") else steps
        columns = rows if part == "decoder" else steps
        for heads in layers.values():
            assert np.shape(heads)[1:] == (rows, columns)
            np.testing.assert_allclose(np.sum(heads, -1), 1, rtol=1e-4)  # six digits each
    if tokens:
        assert "".join(tokens) == given[kind].replace(" ", "")
    if (name, kind) in (("cnn", "image"), ("transformer", "tokens")):
        assert predict.main([str(run), str(given[kind]), "--json"]) == 0
        (expected,) = json.loads(capsys.readouterr().out)
        assert row["label"] == row["target"] == expected["label"]
        assert row["probability"] == pytest.approx(expected["probability"], rel=1e-5)


def test_a_sentence_for_each_and_last_the_folder(made, capsys):
    run = made("transformer", "tokens")
    assert explain.main([str(run), *TEXTS, "--method", "integrated_gradients", "--target", "low"]) == 0
    *sentences, last = capsys.readouterr().out.splitlines()
    assert last == f"{run}/explanations"
    assert len(sentences) == 2 and sentences[1].startswith("'we loved it': predicted ")
    for sentence in sentences:
        assert "for it " in sentence or "against it" in sentence
        assert "Attributions add up to" in sentence and "of F(x) - F(baseline) = " in sentence
    files = sorted(path.name for path in (run / "explanations").iterdir())
    assert "we-loved-it-integrated_gradients.png" in files and "we-loved-it.json" in files
    assert len(files) == 4


def test_examples_of_the_runs_own_data_by_number(tmp_path, capsys):
    x, y = blobs(60, (20, 18))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=np.array(["high", "low", "middle"])[y])
    config = TrainConfig(model="cnn", data=tmp_path / "blobs.npz")
    data = load(config)
    run = untrained(tmp_path / "run", "cnn", data.spec, data=config.data)
    words = [run, "test:3", "train:0", "--layer", "conv_1", "--method", "grad_cam", "--target", "1"]
    result = results(words, capsys)
    for row, split, index in zip(result["inputs"], (data.test, data.train), (3, 0), strict=True):
        assert row["truth"] == data.spec.class_names[split.y[index]]
        assert (row["target"], row["layer"]) == ("low", "conv_1")
    numbers = json.loads((run / "explanations" / "test-3.json").read_text())
    assert (np.shape(numbers["maps"]["grad_cam"]), numbers["seen"]) == ((16, 16), [18, 18])  # a pool drops the rest
    assert explain.main([str(run), "test:12"]) == 2
    assert capsys.readouterr().err == ("zoo.explain: INPUT test:12: expected an index from 0 to 11, received 12\n")


def test_many_examples_are_limited_and_long_texts_cut_and_both_are_told(made, tmp_path, capsys):
    table = tmp_path / "films.csv"
    table.write_text("text\n" + "".join(f"film {i}\n" for i in range(5)) + "ä " * 300 + "\n")
    words = [made("transformer", "tokens"), table, "--limit", "2", "--method", "saliency", "--output", tmp_path / "out"]
    assert explain.main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    assert "1 of 6 texts are longer than the 12 tokens that this run takes and are cut" in err
    assert "6 examples: the first 2 are explained; --limit raises that" in err
    assert len(out.splitlines()) == 3


MISTAKES = {
    ("cnn", "image", "{image} --method gradcam"): "--method: expected one of .*, received 'gradcam'; .* 'grad_cam'",
    ("cnn", "image", "{image} --method attention"): "with attention layers, cnn has none; grad_cam, .* work",
    ("cnn", "image", "{image} --method saliency,,x"): "--method: expected one of .*, received 'x'",
    ("cnn", "image", "{image} --target lw"): "--target lw: expected one of high, low, middle; did you mean 'low'",
    ("cnn", "image", "{image} --target 3"): "--target 3: expected one of high, low, middle",
    ("cnn", "image", "{image} --layer conv_9"): "unknown convolution 'conv_9': expected one of conv_1, conv_2, conv_3",
    ("cnn", "image", "{image} --layer conv_1 --method saliency"): "--layer conv_1: expected with --method grad_cam",
    ("cnn", "image", "{image} --limit 0"): "--limit: expected at least 1, received 0",
    ("cnn", "image", "{image} --output {image}"): "--output .*: expected a folder, received a file",
    ("cnn", "image", "absent.png"): "INPUT absent.png: expected a file, found none",
    ("cnn", "image", "{broken}"): "expected an image or an .npz file, and it cannot be read",
    (
        "transformer",
        "image",
        "{image} --method grad_cam",
    ): "a convolution over an image, transformer has none; sal",
    ("transformer", "image", "{image} --layer conv_1"): "--layer conv_1: expected a model with a convolution",
    ("transformer", "tokens", "a --method attention --target low"): "--target low: expected a method that explains",
    ("transformer", "tokens", "{empty}"): "INPUT: expected a text, received an empty one",
    ("transformer_lm", "tokens", "a --method saliency"): "--method saliency: expected attention for a run that gives",
    ("transformer_lm", "tokens", "a --target low"): "--target low: expected a run that gives classes",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_mistakes_are_one_sentence(mistake, made, given, capsys):
    import re

    name, kind, words = mistake
    image, empty = str(given["image"]), "  "
    broken = str(given["image"].with_name("broken.png"))
    filled = [word.format(image=image, broken=broken, empty=empty) for word in words.split()]
    assert explain.main([str(made(name, kind)), *filled]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert re.search(MISTAKES[mistake], err), err


def test_rows_of_a_table_are_refused():
    options = explain.Options(run="run", inputs=("test:0",))
    with pytest.raises(UsageError, match="run: expected a run on texts, .* this one takes rows of a table"):
        explain._check(options, {"kind": "table", "task": "classification", "class_names": ["a", "b"]})


def test_a_text_without_tokens_is_refused(made, tmp_path, capsys):
    np.savez(tmp_path / "empty.npz", x=np.zeros((1, *SHAPES["tokens"]), "int32"))
    assert explain.main([str(made("transformer", "tokens")), f"{tmp_path}/empty.npz"]) == 2
    assert "expected a text with tokens, received none" in capsys.readouterr().err


def test_a_map_lies_over_what_of_the_image_it_is_of(tmp_path):
    rows = []
    for seen in (None, (14, 28)):
        panel = explanation_pictures.Panel("$", np.ones((4, 4)), seen=seen)
        explanation_pictures.draw_image(tmp_path / "map.png", "$", np.full((28, 28, 1), 0.5), [panel])
        saturation = np.asarray(Image.open(tmp_path / "map.png").convert("HSV"))[..., 1]
        rows.append(np.sum((saturation > 128).sum(1) > 100))  # the scale beside it is narrower
    assert rows[0] > 200
    assert rows[1] == pytest.approx(rows[0] / 2, abs=2)


def test_any_characters_are_drawn_and_white_space_has_a_shape(tmp_path):
    """Dollars are no formula, and a character that the font lacks is a box, without a warning."""
    tokens = ["$a$", " ", "\n", "漢", "_{", " word", "x" * 400]
    values = np.linspace(-1, 1, len(tokens))
    explanation_pictures.draw_tokens(
        tmp_path / "tokens.png", "$x_{$ 漢", tokens, values, words=False, label="$l$", note="$n_{$"
    )
    grid = explanation_pictures.Grid({"block_1": np.full((2, 7, 7), 1 / 7)}, tokens, tokens, "row", "column")
    explanation_pictures.draw_attention(tmp_path / "grid.png", "$", grid)
    assert [explanation_pictures.shapes(t) for t in (" ", "\n", " a", "\t")] == ["␣", "↵", "␣a", "→"]
    assert explanation_pictures.shapes(" a", inside=True) == "a"


def test_a_text_is_wrapped_in_order_and_within_its_width():
    widths = np.random.default_rng(0).uniform(0.1, 2, 60)
    places, lines = explanation_pictures._wrapped([(w, True) for w in widths], 6)
    assert [line for _, line, _ in places] == sorted(line for _, line, _ in places) and places[-1][1] == lines - 1
    for (x, line, wide), (after, next_line, _) in zip(places, places[1:], strict=False):
        assert x + wide <= 6
        assert after >= x + wide if line == next_line else after == 0
