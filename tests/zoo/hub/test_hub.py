"""KerasHub models by preset, against KerasHub itself, with two tiny presets made by fixtures."""

import csv
import importlib.util
import io
import json

import keras
import numpy as np
import pytest

from compression import compress
from tests.zoo.stock.test_pretrained import REVIEWS, table
from zoo import generate, predict, train
from zoo.config.sampling import Beam
from zoo.console.errors import UsageError
from zoo.introspection.variables import named
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec
from zoo.tasks.translation import translate

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("keras_hub") is None, reason="needs the extra hub"),
    # KerasHub's T5: its embedding creates a mask in addition to the explicit one.
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask attached to it:UserWarning"),
    # KerasHub's T5 tokenizer leaves a file open.
    pytest.mark.filterwarnings("ignore:unclosed file .*vocabulary.spm:ResourceWarning"),
    # Raised when SentencePiece's wrapper is imported.
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
]
TEXTS = ["A fine film, number 12!", "dull", "Fines and dulls and films of numbers that go on and on"]
WORDS = ["a", "fine", "film", "dull", "number", "##s", "and", ",", "!", "1", "2", "##2", "of", "on"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Return the folder of a preset: a one-layer encoder with a WordPiece vocabulary."""
    import keras_hub

    folder = str(tmp_path_factory.mktemp("presets") / "bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 20}
    keras.utils.set_random_seed(0)
    keras_hub.models.BertBackbone(vocabulary_size=len(words), **sizes).save_to_preset(folder)
    keras_hub.models.BertTokenizer(vocabulary=words, lowercase=True).save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """Return the folder of a preset: a one-layer encoder and decoder with a SentencePiece vocabulary."""
    import keras_hub
    import sentencepiece

    folder, proto = str(tmp_path_factory.mktemp("presets") / "t5"), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab", "ba", "abba", "a b", "aab", "bba"] * 20), model_writer=proto, vocab_size=12,
        hard_vocab_limit=False, bos_id=-1, pad_id=0, eos_id=1, unk_id=2, pad_piece="<pad>", eos_piece="</s>",
        unk_piece="<unk>", minloglevel=2,
    )  # fmt: skip
    tokenizer = keras_hub.models.T5Tokenizer(proto=proto.getvalue())
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "dropout": 0.0}
    keras.utils.set_random_seed(0)
    keras_hub.models.T5Backbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes).save_to_preset(folder)
    tokenizer.save_to_preset(folder)
    return folder


@pytest.mark.parametrize("length", [6, 20])
def test_texts_are_cut_as_bert_was_pretrained_on_them(length, bert, tmp_path):
    import keras_hub

    from zoo.hub.vocabulary import PresetVocabulary

    vocabulary = PresetVocabulary.from_preset(bert)
    tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(bert)
    theirs = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=length)(TEXTS)
    np.testing.assert_array_equal(vocabulary.encode(TEXTS, length), theirs["token_ids"])
    assert (
        vocabulary.decode(vocabulary.encode(TEXTS, 20)[2])
        == "fines and dulls and films of numbers [UNK] [UNK] on and on"
    )
    vocabulary.save(tmp_path / "vocabulary.json")
    again = PresetVocabulary.load(tmp_path / "vocabulary.json")
    assert (again.rows(TEXTS), again.sha256, len(again)) == (vocabulary.rows(TEXTS), vocabulary.sha256, len(vocabulary))


def test_the_classifier_is_kerashubs_encoder_and_a_head(bert):
    import keras_hub

    from zoo.hub.models import HubClassifier

    model = HubClassifier(3, preset=bert, dropout=0.5)
    model.build((None, 8))
    ids = np.array([[2, 6, 7, 3, 0, 0, 0, 0], [2, 8, 9, 10, 5, 6, 7, 3]], "int32")
    backbone = keras_hub.models.Backbone.from_preset(bert)
    pooled = backbone(
        {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": (ids != 0).astype("int32")}
    )["pooled_output"]
    head = named(model)
    expected = np.asarray(pooled) @ np.asarray(head["logits/kernel"].value) + np.asarray(head["logits/bias"].value)
    np.testing.assert_allclose(model(ids), expected, atol=1e-6)
    with pytest.raises(ValueError, match="--sequence-length: expected at most 20 tokens, .* received 21"):
        model.build((None, 21))


@pytest.mark.slow
def test_a_preset_is_trained_loaded_asked_and_exported(bert, tmp_path, capsys):
    data, run = table(tmp_path / "reviews.tsv", REVIEWS), tmp_path / "run"
    words = ("--model", "hub_classifier", "--set", f"preset={bert}", "--data", data, "--epochs", "15", "--batch-size",
             "8", "--learning-rate", "1e-2", "--output", str(run), "--freeze", "token_embedding")  # fmt: skip
    assert train.main(words) == 0
    assert "frozen: 1 of 25 variables, 304 of " in capsys.readouterr().err  # 19 tokens of 16 numbers
    assert RunFolder(run).read_metrics()["test"]["accuracy"] == 1.0
    model = keras.saving.load_model(run / "model.keras")  # loads without the preset
    import keras_hub

    pretrained = named(keras_hub.models.Backbone.from_preset(bert))
    for name in ("token_embedding/embeddings", "transformer_layer_0/self_attention_layer/query/kernel"):
        same = np.array_equal(pretrained[name].value, named(model)[name].value)
        assert same == name.startswith("token_embedding"), name

    spec, vocabulary = read_spec(RunFolder(run))
    assert predict.main([str(run), "a fine film", "A DULL film", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    logits = np.asarray(model(vocabulary.encode(["a fine film", "a dull film"], *spec.input_shape)))
    assert [row["label"] for row in rows] == [spec.class_names[i] for i in logits.argmax(-1)]
    likely = 1 / (1 + np.exp(-np.abs(logits[:, 0] - logits[:, 1])))  # softmax probability of the larger of two logits
    np.testing.assert_allclose([row["probability"] for row in rows], likely, atol=1e-5)

    assert compress.main([str(run), "--recipe", "dynamic"]) == 0
    receipt = json.loads((run / "artifacts" / "dynamic.receipt.json").read_text())
    assert receipt["test"]["litert"]["accuracy"] == 1.0


@pytest.mark.slow
def test_t5_writes_with_its_cache_what_kerashub_writes_greedily(t5):
    import keras_hub

    from zoo.hub.models import HubSeq2Seq
    from zoo.hub.vocabulary import PresetVocabulary

    vocabulary, model = PresetVocabulary.from_preset(t5), HubSeq2Seq(t5)
    source = vocabulary.encode(["ab ba", "bba", "a"], 8)
    target = np.array([[0, 3, 4, 5], [0, 5, 5, 1], [0, 4, 3, 6]], "int32")
    whole = np.asarray(model((source, target)))
    context, mask = model.encode(source)
    cache = model.empty_cache(3, 4)
    for place in range(4):
        logits, cache = model.decode_step(target[:, place], place, cache, context, mask)
        np.testing.assert_allclose(logits, whole[:, place], atol=1e-5)

    theirs = keras_hub.models.T5Seq2SeqLM.from_preset(t5, preprocessor=None)
    theirs.compile(sampler="greedy")
    begun = np.zeros((3, 7), "int32")
    found = theirs.generate(
        {
            "encoder_token_ids": source,
            "encoder_padding_mask": source != 0,
            "decoder_token_ids": begun,
            "decoder_padding_mask": begun == np.arange(7),
        },
        stop_token_ids=(1,),
    )["decoder_token_ids"]
    ours = translate(model, source, 6, Beam(beams=1), (vocabulary.begin_id, vocabulary.end_id))
    for row, expected in zip(ours, np.asarray(found)[:, 1:], strict=True):
        ended = [*np.flatnonzero(expected == 1), len(expected) - 1][0] + 1
        np.testing.assert_array_equal(row[:ended], expected[:ended])


@pytest.mark.slow  # the default run compares decoding with KerasHub above
def test_t5_is_trained_on_pairs_and_translates(t5, tmp_path, capsys):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ab"), 3)) for _ in range(120)]
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + "".join(f"{text}\t{text}\n" for text in texts))
    run = tmp_path / "run"
    words = ("--model", "hub_seq2seq", "--set", f"preset={t5}", "--data", str(tmp_path / "pairs.tsv"), "--task",
             "translation", "--epochs", "8", "--batch-size", "8", "--learning-rate", "1e-2", "--output",
             str(run))  # fmt: skip
    assert train.main(words) == 0
    with RunFolder(run).history_file.open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.9 * losses[0]
    capsys.readouterr()
    assert generate.main([str(run), "aba", "bab"]) == 0
    made = capsys.readouterr().out.splitlines()
    assert len(made) == 2 and set("".join(made)) <= set("ab ")


@pytest.mark.parametrize(("model", "preset", "message"), [
    ("hub_classifier", "berd_tiny", "--set preset=berd_tiny: expected a preset of KerasHub .*: Unknown preset"),
    ("hub_classifier", "t5", "--set preset=.*t5: expected a preset .* subclass of TextClassifier that is compatible"),
    ("hub_seq2seq", "bert", "--set preset=.*bert: expected a preset .* subclass of T5Seq2SeqLM that is compatible"),
])  # fmt: skip
def test_presets_for_something_else_are_refused(model, preset, message, request):
    from zoo.hub import presets

    path = request.getfixturevalue(preset) if preset in ("t5", "bert") else preset
    with pytest.raises(UsageError, match=message):
        presets.classifier(path, 2, 0.1) if model == "hub_classifier" else presets.translator(path)


def test_vocabulary_that_names_another_class_is_refused(tmp_path):
    """A model could take any memory when it is made."""
    from zoo.hub.vocabulary import PresetVocabulary

    path = tmp_path / "vocabulary.json"
    dense = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    for config in (dense, {"registered_name": "absent", "class_name": "Absent", "config": {}}):
        path.write_text(json.dumps({"keras_hub": {"tokenizer": config, "assets": {}}}))
        with pytest.raises(UsageError, match="damaged: .*expected a tokenizer of KerasHub"):
            PresetVocabulary.load(path)
