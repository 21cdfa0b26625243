"""Runs that make texts as .tflite files: what the files compute, and the loop that goes to a device."""

import csv
import dataclasses
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from compression import compress, sensitivity, verify
from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.tying import tie
from compression.on_device import generate as on_device
from compression.pipeline import pipeline, source
from compression.receipts import receipt
from compression.recipes.language import parse
from compression.recipes.options import Calibration, StageTraining
from compression.runtime import litert_texts
from compression.tasks.language_model import LanguageModel
from compression.tasks.translation import Translation
from tests.compression.tasks.conftest import TEXT_SETTINGS, WORDS, english
from tests.conftest import ROOT
from zoo import generate
from zoo.data import Dataset, DataSpec, Split
from zoo.data.text import Vocabulary
from zoo.models import Transformer, TransformerLM
from zoo.runs.folder import RunFolder
from zoo.tasks import language_model

# How far a probability and an effect of the source may be from Keras'; what share of answers must be Keras'.
PRECISIONS = {
    "float32": (1e-5, 1e-5, 1.0),
    "float16": (1e-2, 1e-3, 1.0),
    "dynamic": (0.1, 0.02, 0.99),
    "int4": (0.5, 0.1, 0.95),
    "int8": (0.3, 0.05, 0.98),
}


@pytest.fixture(scope="module")
def loaded(translation_run):
    return source.open_run(translation_run, {}, any_task=True).load()


@pytest.fixture(scope="module")
def files(loaded, tmp_path_factory):
    """The model in every precision, by name."""
    model, data = loaded
    folder, form = tmp_path_factory.mktemp("files"), Translation(data)
    paths = {name: folder / f"{name}.tflite" for name in PRECISIONS}
    floats = {paths[name]: parse(name) for name in PRECISIONS if name != "int8"}
    tflite.export_each(model, floats, form.interface, calibration=form.calibration(64, 0))
    tflite.export(model, paths["int8"], parse("int8"), form.interface, calibration=form.calibration(64, 0))
    return paths


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRECISIONS)
def test_every_step_of_a_file_is_keras_own_and_depends_on_the_source_as_in_keras(name, files, loaded):
    model, data = loaded
    tokens, labels, given = data.test.y[:40, :-1], data.test.y[:40, 1:], data.test.x[:40]
    most, effect, same = PRECISIONS[name]
    found, expected = [], []
    for x in (given, np.roll(given, 1, axis=0)):
        steps = litert_texts.forced(files[name], tokens, labels, x, keep=40)
        theirs = softmax(np.asarray(model((x, tokens)), np.float64)[labels != 0])
        mine = softmax(steps.logits.astype(np.float64))
        assert np.abs(mine - theirs).max() <= most
        assert (mine.argmax(-1) == theirs.argmax(-1)).mean() >= same
        wanted = labels[labels != 0]
        np.testing.assert_allclose(steps.log_p[labels != 0], np.log(mine[np.arange(len(mine)), wanted]), atol=1e-5)
        found.append(mine)
        expected.append(theirs)
    changes = [np.abs(own - other).sum(-1).mean() / 2 for own, other in (found, expected)]
    assert changes[1] > 0.5  # else this test would say nothing
    assert changes[0] == pytest.approx(changes[1], abs=effect)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float32", "float16", "dynamic", "int8"])
def test_the_table_that_embeds_targets_and_scores_them_is_stored_once(name, files, loaded):
    model, data = loaded
    shape = [data.spec.target_vocabulary_size, TEXT_SETTINGS["model_dim"]]
    file = flatbuffer.read(files[name])
    tables = [row for row in flatbuffer.constants(file) if row["shape"] == shape and row["bytes"]]
    # Sources have as many words here, and a table of their own.
    assert data.spec.vocabulary_size == shape[0] and len(tables) == 2
    if name in ("dynamic", "int8"):  # as fine as its largest number allows, whatever words calibration met
        largest = np.abs(model.target_embedding.embeddings.numpy()).max()
        scales = [row["scale"] for row in tables if row["type"] == "int8" and row["scales"] == 1]
        assert len(scales) == 2 and min(abs(scale * 127 / largest - 1) for scale in scales) < 0.01
    assert not flatbuffer.flex(file)
    ends = flatbuffer.signatures(file)
    assert set(ends) == {"encode", "decode_step"}
    outer = {row["name"]: row["type"] for each in ends.values() for rows in each.values() for row in rows}
    assert {outer.pop(token) for token in ("source", "token", "position")} == {"int32"}
    assert outer.pop("source_mask") == "bool" and set(outer.values()) == {"float32"}


def test_a_head_with_a_kernel_of_its_own_is_left_alone(tmp_path):
    keras.utils.set_random_seed(1)
    model = TransformerLM(60, num_layers=1, model_dim=24, num_heads=2, ff_dim=24, tied=False)
    model.build((None, 6))
    path = tmp_path / "dynamic.tflite"
    tflite.export(model, path, parse("dynamic"), LanguageModel(_windows(60)).interface)
    assert tie(path) == 0
    tables = [row for row in flatbuffer.constants(flatbuffer.read(path)) if row["shape"] == [60, 24]]
    assert len([row for row in tables if row["bytes"]]) == 2


def _windows(vocabulary_size, length=6):
    """A set for a language model, of random windows."""
    x = np.random.default_rng(0).integers(4, vocabulary_size, (20, length)).astype("int32")
    y = np.roll(x, -1, axis=1)
    y[-1, 3:] = 0
    spec = DataSpec("w", "tokens", (length,), (), True, vocabulary_size, "language_model", (length,), vocabulary_size)
    return Dataset(spec, *[Split(x, y)] * 3, vocabulary=SimpleNamespace(sha256="", save=lambda path: None))


@pytest.mark.slow
def test_a_language_model_as_a_file(tmp_path):
    keras.utils.set_random_seed(1)
    model = TransformerLM(40, num_layers=2, model_dim=16, num_heads=2, ff_dim=24)
    model.build((None, 6))
    data = dataclasses.replace(_windows(40), vocabulary=Vocabulary.train(["abc" * 9], 40, "character"))
    made = pipeline.compress(model, data, "float32", tmp_path)
    logits = np.asarray(model(data.test.x), np.float64)
    real = data.test.y != 0
    p = softmax(logits)[real][np.arange(real.sum()), data.test.y[real]]
    assert made.receipt["test"]["litert"]["loss"] == pytest.approx(-np.log(p).mean(), abs=1e-5)
    assert made.receipt["test"]["litert"]["tokens"] == 117
    assert made.receipt["parity"]["largest_difference"] < 1e-5
    assert [row["signature"] for row in made.receipt["latency"]] == ["decode_step"] * len(made.receipt["latency"])
    file, prompt = on_device.Model(made.path), [5, 6, 7]
    for length in (2, 20):  # within a window, and past several
        expected = language_model.continued(model, np.array(prompt), count=1, length=length, window=6, sampling=None)
        assert list(on_device.continue_text(file, prompt, length, on_device.sampler(0, 0))) == expected[0].tolist()
    drawn = [next(iter(on_device.continue_text(file, prompt, 1, on_device.sampler(1.0, seed)))) for seed in range(300)]
    p = softmax(np.asarray(model(np.array([prompt], "int32")), np.float64))[0, -1]
    frequent = np.argsort(-p)[:3]
    np.testing.assert_allclose([drawn.count(i) / 300 for i in frequent], p[frequent], atol=4 * 0.5 / 300**0.5)


def test_a_search_on_the_device_finds_the_best_of_all_texts():
    """Against every text there is, and with few beams against Keras' search."""
    rng, end, length, alpha = np.random.default_rng(3), 1, 4, 0.6
    table = rng.normal(0, 1.5, (length, 5, 5)).astype("float32")  # by position and token before
    model = SimpleNamespace(
        vocabulary_size=5,
        length=length,
        empty={},
        encode=lambda ids: {},
        step=lambda token, position, cache, context: (table[position, token], cache),
    )
    log_p = np.log(softmax(table.astype(np.float64)))

    def score(text):
        before = (0, *text[:-1])
        return sum(log_p[i, a, b] for i, (a, b) in enumerate(zip(before, text, strict=True))) / (
            ((5 + len(text)) / 6) ** alpha
        )

    every = [
        text
        for n in range(1, length + 1)
        for text in itertools.product(range(5), repeat=n)
        if end not in text[:-1] and (text[-1] == end or n == length)
    ]
    best = max(every, key=score)
    search = {"begin": 0, "end": end, "length_penalty": alpha}
    assert tuple(on_device.translate(model, [], beams=625, **search)) == best
    greedy = on_device.translate(model, [], begin=0, end=end, beams=1, length_penalty=0)
    assert greedy[0] == log_p[0, 0].argmax()


@pytest.mark.parametrize("tokens", ["word", "character", "subword"])
def test_texts_become_the_ids_that_the_library_gives(tokens, tmp_path):
    rng = random.Random(0)
    letters = (
        "aAbÄßéσΣİñ 12½²Ⅷ.,!?'’-_()[]{}\"¿¡…$+<^`|~\t\n\r\x1c\x85\u00a0\u2003\u200b\u0301اक你🙂👍🏽٣'s're't  [PAD]"
    )
    texts = ["".join(rng.choice(letters) for _ in range(rng.randint(0, 30))) for _ in range(600)]
    texts += ["the man's hat, which he'd left (there), is 12 years old.", "Ein [UNK] läuft; drei\r\n  schlafen  "] * 3
    for lowercase in (False, True):
        vocabulary = Vocabulary.train(texts[::2], 500, tokens, pairs=not lowercase, lowercase=lowercase)
        vocabulary.save(tmp_path / "vocabulary.json")
        plain = on_device.VocabularyFile(tmp_path / "vocabulary.json")
        rows = vocabulary.rows(texts)
        assert [plain.encode(text) for text in texts] == rows
        assert plain.sha256 == vocabulary.sha256 and plain.tokens == tokens
        rows += [[rng.randrange(len(vocabulary)) for _ in range(9)] for _ in range(300)]
        assert [plain.decode(row) for row in rows] == [vocabulary.decode(row) for row in rows]


# What a device has not.
_BLOCKED = """
import sys
for name in ("tensorflow", "keras", "zoo", "compression", "strategies", "tokenizers", "jax"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv.pop(1))
import generate
sys.exit(generate.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def made(translation_run, tmp_path_factory):
    """A compressed run outside of its folder, and what a device gets: the loop, the file and its vocabularies."""
    folder = tmp_path_factory.mktemp("device")
    shutil.copy(ROOT / "compression" / "on_device" / "generate.py", folder)
    assert compress.main([str(translation_run), "--recipe", "int8", "--output", str(folder)]) == 0
    return folder / "int8.tflite"


def keras_translations(run):
    """The translations of the test texts that the run itself wrote, by beam search of 4."""
    with RunFolder(run).translations_file.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def on_a_device(made, *words):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-c", _BLOCKED, made.parent, made, *words]
    return subprocess.run([*map(str, words)], cwd=made.parent, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_a_device_translates_as_keras_does_with_litert_and_numpy_alone(made, translation_run):
    rows = keras_translations(translation_run)[:12]
    texts = [row["source"] for row in rows]
    done = on_a_device(made, *texts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [row["output"] for row in rows]
    assert texts[0].split()[0] in WORDS[0] and english(texts[0].split()[0]) in rows[0]["output"]
    done = on_a_device(made, *texts, "--beams", 1)
    greedy = generate.run({"run": translation_run, "inputs": tuple(texts), "greedy": True})
    assert done.stdout.splitlines() == [row["output"] for row in greedy]
    done = on_a_device(made, "roter roter roter roter Hund und noch ein Hund", "x")
    assert (
        done.returncode == 0 and "its 9 tokens are cut to 3" in done.stderr and "not in the vocabulary" in done.stderr
    )


@pytest.mark.slow
def test_a_device_refuses_what_does_not_belong_together(made, tmp_path, files):
    for name in ("generate.py", "int8.tflite", "int8.vocabulary.json", "int8.target_vocabulary.json"):
        shutil.copy(made.parent / name, tmp_path)
    other = tmp_path / "int8.target_vocabulary.json"

    def refused(*words):
        try:
            status = on_device.main([*map(str, words)])
        except SystemExit as ended:
            status = ended.code
        assert status == 2

    file = tmp_path / "int8.tflite"
    refused(file, " ")
    refused(file, "roter Hund", "--beams", 0)
    refused(file, "roter Hund", "--length-penalty", "nan")
    refused(tmp_path / "absent.tflite", "roter Hund")
    refused(other, "roter Hund")
    with pytest.raises(on_device.Unusable, match="at most 3 tokens, received 4"):
        on_device.Model(file).encode([4] * 4)
    shutil.copy(made.parent / "int8.vocabulary.json", other)
    with pytest.raises(on_device.Unusable, match="not the vocabulary that int8.tflite was trained with"):
        on_device.vocabularies(file, on_device.Model(file))
    (tmp_path / "int8.vocabulary.json").write_text("{")
    refused(file, "roter Hund")
    (tmp_path / "int8.vocabulary.json").unlink()
    refused(file, "roter Hund")


@pytest.mark.slow
def test_a_receipt_is_reproduced_and_says_how_texts_were_searched_for(made, translation_run, loaded, capsys):
    stored = json.loads(made.with_suffix(".receipt.json").read_text())
    _, data = loaded
    test = stored["test"]
    assert test["decoding"] == {"beams": 4, "length_penalty": 0.6} and test["examples"] == len(data.test)
    same = [row["output"] == row["reference"] for row in keras_translations(translation_run)]
    assert test["keras"]["exact_match"] == np.mean(same) > 0.9
    assert abs(test["litert"]["exact_match"] - np.mean(same)) <= 0.02
    assert test["litert"]["bleu"] == pytest.approx(test["keras"]["bleu"], abs=2)
    assert "beam" not in test["litert"]["bleu_signature"] and stored["parity"]["same_text"] >= 0.98
    assert {row["signature"] for row in stored["latency"]} == {"encode", "decode_step"}
    assert stored["made"]["calibration_examples"] >= Calibration().examples
    assert verify.main([str(made), str(translation_run)]) == 0
    out = capsys.readouterr().out
    assert "reproduced: test BLEU" in out and "encode, 1 thread" in out
    stored["test"]["litert"]["bleu"] += 0.5
    with_other = receipt.differences(stored, json.loads(made.with_suffix(".receipt.json").read_text()))
    assert len(with_other) == 1 and with_other[0].startswith("test.litert.bleu: the receipt says")


@pytest.mark.slow
def test_training_words_come_before_a_file(loaded, translation_run, tmp_path):
    model, data = loaded
    training = RunFolder(translation_run).read_config()["config"]
    made = pipeline.compress(model, data, "prune(0.5, epochs=1) + dynamic", tmp_path, training=StageTraining(training))
    sparse = [
        row["zeros"] / row["elements"] for row in made.receipt["constants"] if row["type"] == "int8" and row["bytes"]
    ]
    assert len(sparse) > 5 and min(sparse) >= 0.49
    assert [row["stage"] for row in made.receipt["stages"]] == ["start", "prune(0.5, epochs=1)"]
    assert made.receipt["test"]["litert"]["exact_match"] > 0.5


@pytest.mark.slow
def test_every_training_word_of_texts(loaded, translation_run, tmp_path):
    model, data = loaded
    training = RunFolder(translation_run).read_config()["config"]
    recipe = "prune(0.5, epochs=2) + cluster(16, epochs=2) + qat(epochs=2) + dynamic"
    made = pipeline.compress(model, data, recipe, tmp_path, training=StageTraining(training))
    rows = [row for row in made.receipt["constants"] if row["type"] == "int8" and row["bytes"]]
    assert pipeline.verify(made.path, model, data)[1] == []
    assert max(row["distinct"] for row in rows) <= 17 and made.receipt["test"]["litert"]["exact_match"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--recipe", "int16x8"], ["int16x8", "token ids", "use int8 or dynamic"]),
        (["--recipe", "int8(skip=head)"], ["skip", "no names of their own"]),
        (["--recipe", "channels(0.5) + int8"], ["channels of a run that generates text", "use prune"]),
        (["--recipe", "qat + int8"], ["qat of a run that generates text", "use qat with dynamic or int4"]),
        (["--recipe", "distill(elsewhere) + int8"], ["distill of a run that generates text"]),
        (["--recipe", "int8", "--batch", "2"], ["--batch 2", "expected 1"]),
        (["--recipe", "int8", "--uint8-input"], ["--uint8-input", "translates texts"]),
        (["--recipe", "int8", "--skip-worst", "1"], ["--skip-worst", "a run that gives classes"]),
        (["--recipe", "int8", "--beams", "0"], ["--beams 0", "1 or more"]),
        (["--recipe", "int8", "--lstm-kernel", "loop"], ["no recurrent layers"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(words, expected, translation_run, tmp_path, capsys):
    capsys.readouterr()
    assert compress.main([str(translation_run), *words, "--output", str(tmp_path)]) == 2
    *said, error = capsys.readouterr().err.strip().splitlines()
    assert len(said) < 2 and not list(tmp_path.iterdir())  # at most the line that says what is made
    for part in expected:
        assert part in error


@pytest.mark.slow
def test_other_commands_and_models_are_refused(translation_run, loaded, image_run, tmp_path, capsys):
    assert sensitivity.main([str(translation_run)]) == 2
    assert "expected a run that gives classes, this one is for translation" in capsys.readouterr().err
    assert compress.main([str(image_run), "--beams", "2"]) == 2
    assert "--beams: expected a run that translates, this one gives classes" in capsys.readouterr().err
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="this one has no empty_cache and no decode_step and no encode"):
        pipeline.compress(plain, loaded[1], "float32", tmp_path)
    # A file for other lengths is not measured on these texts.
    model, data = loaded
    longer = Transformer(data.spec.vocabulary_size, data.spec.target_vocabulary_size, **TEXT_SETTINGS)
    longer.build([(None, 9), (None, 9)])
    form = Translation(data)
    path = tmp_path / "longer.tflite"
    tflite.export(longer, path, parse("float32"), dataclasses.replace(form.interface, length=9))
    with pytest.raises(ValueError, match="a cache of 4, as the data have them; this one takes 3 and 9"):
        receipt.measure(path, form.subject(model, model))
