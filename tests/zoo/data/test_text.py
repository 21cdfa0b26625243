"""Vocabularies, encoding and decoding, and the windows of a language model."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import tokenizers

from tests.conftest import unsealed
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec, load
from zoo.data.sources.language import WINDOW, ids_of, moved, windows
from zoo.data.text import Vocabulary, longer, padded
from zoo.runs import inference
from zoo.runs.folder import RunFolder

LINES = ["The cat sat on the mat.", "Ein Mädchen läuft — schnell!", "to be,\tor not\r\n to be", "  two  spaces "] * 3
# Texts that a tokenizer may lose: spelt-out special tokens, other scripts, composed and combining accents.
STRANGE = ["[PAD] is [END]ing\n\n", "日本 \N{PILE OF POO} x\u0301 \u00e9", "\ufeffno\u00a0break\u2028line", ""]


def config(**values):
    return TrainConfig(**values).resolved()


@pytest.mark.parametrize("text", LINES[:4] + STRANGE)
def test_subwords_give_back_any_text(text):
    vocabulary = Vocabulary.train(LINES, 300, "subword", pairs=True)
    (row,) = vocabulary.rows([text])
    assert min(row, default=4) >= 4  # no unknown token, and no text is read as a special token
    assert vocabulary.decode(row) == text


@pytest.mark.parametrize("pairs", [False, True])
def test_characters_give_back_the_text_and_show_what_they_do_not_know(pairs):
    vocabulary = Vocabulary.train(LINES, 100, "character", pairs=pairs)
    assert len(vocabulary) == len(set("".join(LINES))) + (4 if pairs else 2)
    for text in LINES:
        (row,) = vocabulary.rows([text])
        assert len(row) == len(text)
        assert vocabulary.decode(row) == text
    (row,) = vocabulary.rows(["cat?ß"])
    assert row[3:] == [1, 1]
    assert vocabulary.decode(row) == "cat\ufffd\ufffd"
    (row,) = vocabulary.rows(["[END]"])
    assert 3 not in row or not pairs


def test_a_character_vocabulary_keeps_the_most_frequent():
    vocabulary = Vocabulary.train(["aaabbc"], 4, "character")
    assert vocabulary.rows(["cab"]) == [[1, 2, 3]]


@pytest.mark.parametrize(("text", "shown"), [
    ("A man, who (slowly) reads: why?", "A man, who (slowly) reads: why?"),
    ("The dog's well-known owner", "The dog's well-known owner"),
    ('He says "two words" .', 'He says "two words".'),
    ("an elephant", "an [UNK]"),
])  # fmt: skip
def test_words_are_shown_with_the_usual_spaces(text, shown):
    texts = ["A man, who (slowly) reads: why?", "The dog's well-known owner", 'He says "two words".', "an"]
    vocabulary = Vocabulary.train(texts, 100, pairs=True, lowercase=False)
    assert vocabulary.decode(vocabulary.rows([text])[0]) == shown


def test_words_are_lower_cased_for_classification_alone():
    assert Vocabulary.train(["The THE"], 10).rows(["the THE"]) == [[2, 2]]
    vocabulary = Vocabulary.train(["The THE"], 10, lowercase=False)
    assert vocabulary.rows(["the THE The"]) == [[1, 2, 3]]


@pytest.mark.parametrize("tokens", ["word", "character", "subword"])
def test_decoding_stops_at_the_end_and_leaves_out_begin_and_padding(tokens):
    vocabulary = Vocabulary.train(LINES, 300, tokens, pairs=True, lowercase=False)
    (row,) = vocabulary.rows(["The cat"])
    assert vocabulary.decode([2, *row, 3, *row, 0, 0]) == "The cat"
    assert vocabulary.decode(np.array([2, *row, 0, 0], np.int32)) == "The cat"


@pytest.mark.parametrize("tokens", ["word", "character", "subword"])
def test_a_saved_vocabulary_is_the_same(tokens, tmp_path):
    vocabulary = Vocabulary.train(LINES, 300, tokens)
    vocabulary.save(tmp_path / "v.json")
    read = Vocabulary.load(tmp_path / "v.json")
    assert (read.tokens, len(read)) == (tokens, len(vocabulary))
    assert read.rows(LINES + STRANGE) == vocabulary.rows(LINES + STRANGE)
    ordinary = [
        tokenizers.Tokenizer.from_file(str(tmp_path / "v.json")).encode(line).ids for line in LINES + STRANGE[1:]
    ]
    assert ordinary == vocabulary.rows(LINES + STRANGE[1:])
    assert read.sha256 == vocabulary.sha256 == hashlib.sha256((tmp_path / "v.json").read_bytes()).hexdigest()
    assert Vocabulary.train(LINES, 300, tokens).sha256 == vocabulary.sha256


@pytest.mark.parametrize(("size", "tokens", "least"), [(3, "character", 5), (259, "subword", 260)])
def test_a_vocabulary_too_small_is_refused(size, tokens, least):
    with pytest.raises(UsageError, match=f"--vocabulary-size {size}: expected at least {least} with --tokens {tokens}"):
        Vocabulary.train(LINES, size, tokens, pairs=True)


def test_a_damaged_vocabulary_is_named(tmp_path):
    (tmp_path / "v.json").write_text('{"version": ')
    with pytest.raises(UsageError, match="v.json is damaged"):
        Vocabulary.load(tmp_path / "v.json")


def test_rows_are_padded_cut_and_counted():
    rows = [[5], [5, 6, 7], []]
    assert padded(rows, 2).tolist() == [[5, 0], [5, 6], [0, 0]]
    assert longer(rows, 2) == 1


def write_films(path, count=40):
    lines = [f"{'good' if i % 2 else 'bad'} film number {i},{'yes' if i % 2 else 'no'}\n" for i in range(count)]
    path.write_text("text,label\n" + "".join(lines))
    return path


@pytest.mark.parametrize("tokens", ["character", "subword"])
def test_classification_of_other_tokens(tokens, tmp_path):
    data = load(config(model="lstm", data=write_films(tmp_path / "films.csv"), tokens=tokens))
    assert data.spec.task == "classification"
    assert data.vocabulary.tokens == tokens
    assert "film number" in data.vocabulary.decode(data.train.x[0])


def test_cut_texts_are_counted_once(tmp_path):
    cut = load(config(model="lstm", data=write_films(tmp_path / "films.csv"), sequence_length=3)).reading
    ((what, count),) = cut.changed.items()
    assert count == 28 and what.startswith("training texts cut to 3 tokens (") and "--sequence-length" in what
    assert load(config(model="lstm", data=write_films(tmp_path / "films.csv"))).reading.changed == {}


def written_run(folder, data):
    """Return a run folder as training writes it at the start."""
    run = RunFolder(folder)
    run.write_config(config(model="lstm"), data.spec.to_json(), [])
    data.save_vocabularies(run.vocabulary_file, run.target_vocabulary_file)
    return run


def test_a_text_to_predict_that_is_cut_or_empty_or_unknown(tmp_path, capsys):
    data = load(config(model="lstm", data=write_films(tmp_path / "films.csv"), tokens="character", sequence_length=30))
    spec, vocabulary = inference.read_spec(written_run(tmp_path / "run", data))
    _, x = inference.read_inputs(["a good film", "ÄÖÜ"], spec, vocabulary, "text")
    assert x[1].tolist() == [1] * 3 + [0] * 27
    assert capsys.readouterr().err == "INPUT ÄÖÜ: 3 of 3 tokens are not in the run's vocabulary\n"
    inference.read_inputs(["word " * 20], spec, vocabulary, "text")
    assert "1 of 1 texts are longer than the 30 tokens that this run takes and are cut" in capsys.readouterr().err
    with pytest.raises(UsageError, match="INPUT: expected a text, received an empty one"):
        inference.read_inputs([" "], spec, vocabulary, "text")


def test_another_runs_vocabulary_is_refused(tmp_path):
    data = load(config(model="lstm", data=write_films(tmp_path / "films.csv")))
    run = written_run(tmp_path / "run", data)
    assert inference.read_spec(run)[1].sha256 == data.spec.vocabulary_sha256
    Vocabulary.train(LINES, 100).save(run.vocabulary_file)
    with pytest.raises(UsageError, match="vocabulary.json was altered or is another run's: its SHA-256 is not the one"):
        inference.read_spec(run)
    run.vocabulary_file.unlink()
    with pytest.raises(UsageError, match="expected the vocabulary that the run was trained with, found no such file"):
        inference.read_spec(run)


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    """A run whose config.json has no task and no SHA-256 is read; its vocabulary is checked by size."""
    data = load(config(model="lstm", data=write_films(tmp_path / "films.csv")))
    run = written_run(tmp_path / "run", data)
    stored = unsealed(run.path, "config.json")
    older = ("name", "kind", "input_shape", "class_names", "per_step", "vocabulary_size")
    stored["data"] = {key: stored["data"][key] for key in older}
    for name in ("task", "tokens", "source", "target", "test_split_name"):
        del stored["config"][name]
    run.config_file.write_text(json.dumps(stored))
    spec, vocabulary = inference.read_spec(run)
    assert spec == dataclasses.replace(data.spec, vocabulary_sha256="")
    assert vocabulary.rows(["a good film"]) == data.vocabulary.rows(["a good film"])
    Vocabulary.train(LINES, 7).save(run.vocabulary_file)
    with pytest.raises(UsageError, match=f"expected the {spec.vocabulary_size} tokens .* found 7"):
        inference.read_spec(run)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 30])
def test_windows_hold_every_token_once_as_a_target(count):
    ids = np.arange(1, count + 1, dtype=np.int32)
    split = windows(ids, 5)
    assert split.x.shape == split.y.shape == (-(-(count - 1) // 5), 5)
    assert split.x.dtype == split.y.dtype == np.int32
    assert split.y[split.y > 0].tolist() == ids[1:].tolist()
    assert (split.y[split.y > 0] == split.x[split.y > 0] + 1).all()


@pytest.mark.parametrize("by", [0, 1, 4])
def test_windows_that_begin_later_hold_the_same_targets(by):
    split = moved(windows(np.arange(1, 14, dtype=np.int32), 5), by)  # 13 tokens, 2 of padding
    assert split.x.ravel().tolist() == np.roll([*range(1, 14), 0, 0, 0], -by)[:15].tolist()
    assert split.y.ravel().tolist() == np.roll([*range(1, 14), 0, 0, 0], -by)[1:].tolist()


@pytest.mark.parametrize("tokens", ["character", "subword"])
def test_a_text_file_becomes_a_language_model(tokens, tmp_path):
    text = "".join(f"{i} bottles\r\nof milk\n" for i in range(400))
    (tmp_path / "song.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    data = load(config(model="lstm", data=tmp_path / "song.txt", tokens=tokens, vocabulary_size=300))
    assert data.spec == DataSpec(
        "song", "tokens", (WINDOW,), (), True, len(data.vocabulary), "language_model", (WINDOW,), len(data.vocabulary),
        data.vocabulary.sha256,
    )  # fmt: skip
    parts = [data.vocabulary.decode(split.x.reshape(-1)) for split in (data.train, data.validation, data.test)]
    assert text.startswith(parts[0])
    assert text.endswith(parts[2])
    assert abs(len(parts[2]) - 0.2 * len(text)) < 2 * WINDOW
    assert (ids_of(data.vocabulary, parts[2])[:WINDOW] == data.test.x[0]).all()


def test_characters_that_training_has_not_are_unknown_targets(tmp_path):
    for name, text in (("train", "ab" * 50), ("valid", "abc" * 5), ("test", "zz")):
        (tmp_path / f"{name}.txt").write_text(text)
    data = load(config(model="lstm", data=tmp_path, sequence_length=4))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [25, 4, 1]
    assert data.test.y.tolist() == [[1, 0, 0, 0]]


def test_a_folder_of_texts_is_read_in_order(tmp_path):
    (tmp_path / "b.txt").write_text("second" * 20)
    (tmp_path / "a.txt").write_text("first" * 20)
    data = load(config(model="lstm", data=tmp_path, sequence_length=30, test_split=0.0, validation_split=0.0))
    shown = data.vocabulary.decode(data.train.x.reshape(-1))
    assert ("first" * 20 + "\n" + "second" * 20).startswith(shown[:-1])
    assert len(data.test) == 0


def test_files_that_a_folder_of_texts_does_not_read_as_one_expects_are_told(tmp_path):
    for name in ("book.txt", "test.txt", "notes.md"):
        (tmp_path / name).write_text("some words " * 50)
    notes = load(config(model="lstm", data=tmp_path, sequence_length=30)).reading.notes
    assert "test.txt without a train.txt beside: read as part of the whole text" in notes
    assert "notes.md beside book.txt is not read" in notes


@pytest.mark.parametrize(("content", "message"), [
    (b"", "a.txt: expected a text, received an empty file"),
    (b" \n", "a.txt: expected a text, received an empty file"),
    (b"x", "a: expected a training text with at least two tokens, received fewer"),
    (b"\xef\xbb\xbfwell \xff\n", "a.txt: expected UTF-8 text, received byte 0xff at offset 8"),
])  # fmt: skip
def test_bad_texts_are_refused_with_the_reason(content, message, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load(config(model="lstm", data=tmp_path / "a.txt"))


def test_tiny_shakespeare_is_read_whole(data_dir):
    data = load(config(model="lstm", dataset="tiny_shakespeare", data_dir=data_dir))
    assert data.spec.vocabulary_size == 65 + 2
    # Every character except the first of each split, of 1,003,854, 55,770 and 55,770 characters.
    assert [np.count_nonzero(s.y) for s in (data.train, data.validation, data.test)] == [1003853, 55769, 55769]
    assert data.vocabulary.decode(data.train.x[0]).startswith("First Citizen:\nBefore we proceed any further")
