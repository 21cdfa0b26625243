"""Link prediction: ranks against a slow reference, and a run on the families from training to questions."""

import csv
import json

import keras
import numpy as np
import pytest

from tests.conftest import ROOT, run_module
from tests.zoo.data.test_triples import TRIPLES, write
from zoo import evaluate, generate, predict, train
from zoo.config.train_config import TrainConfig
from zoo.data import Dataset, DataSpec, load
from zoo.data.sources.triples import questions
from zoo.explain import __main__ as explain
from zoo.introspection.variables import named
from zoo.runs.folder import RunFolder
from zoo.tasks import link_prediction
from zoo.tasks.link_prediction import Known, filtered, group_size
from zoo.training.loop import train as fit

SMALL = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 16, "clip_norm": 1.0, "keep": "last"}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The folder of a run on the families, with what training said."""
    folder = tmp_path_factory.mktemp("family") / "run"
    assert train.main(["--model", "kg_embedding", "--dataset", "family", "--output", str(folder)]) == 0
    return folder


def graph(seed=0, entities=7, relations=2, triples=24):
    """A small graph with many answers to a question."""
    rng = np.random.default_rng(seed)
    every = np.stack([rng.permutation(entities * relations * entities)[:triples]], 1)
    found = np.concatenate([every // (relations * entities), every // entities % relations, every % entities], 1)
    spec = DataSpec("g", "triples", (2,), tuple("abcdefg"), task="link_prediction", relations=("r", "s"))
    parts = [questions(part.astype("int32"), relations) for part in np.split(found, [14, 18])]
    return Dataset(spec, *parts)


def slow_rank(scores, question, answer, data):
    """The mean rank over every order of what ties, once other known answers are taken out."""
    known = {
        int(y)
        for split in (data.train, data.validation, data.test)
        for x, y in zip(split.x, split.y, strict=True)
        if tuple(x) == tuple(question)
    }
    rivals = [s for entity, s in enumerate(scores) if entity not in known - {int(answer)} and entity != answer]
    ahead, level = sum(s > scores[answer] for s in rivals), sum(s == scores[answer] for s in rivals)
    return np.mean([ahead + place for place in range(1, level + 2)])


@pytest.mark.parametrize("seed", range(4))
def test_filtered_ranks_are_those_of_a_slow_reference(seed):
    data = graph(seed)
    logits = np.random.default_rng(seed).integers(0, 3, (len(data.test), 7)).astype("float32")  # with many ties
    ranks, first = filtered(logits, data.test, Known(data))
    expected = [slow_rank(*row, data) for row in zip(logits, data.test.x, data.test.y, strict=True)]
    np.testing.assert_allclose(ranks, expected)
    assert len(set(ranks)) > 3 and (ranks % 1 != 0).any()
    assert ((first == data.test.y) == (ranks < 2)).all() or (ranks[first == data.test.y] >= 1).all()
    found = link_prediction.scores(ranks, data.test, data, "test")
    assert found["mrr"] == pytest.approx(np.mean([1 / rank for rank in expected]))
    assert found["hits_at_3"] == pytest.approx(np.mean([rank <= 3 for rank in expected]))
    half = len(expected) // 2
    assert found["mrr_tails"] == pytest.approx(np.mean([1 / rank for rank in expected[:half]]))
    assert found["mrr_heads"] == pytest.approx(np.mean([1 / rank for rank in expected[half:]]))


def test_a_model_that_scores_all_alike_gets_what_chance_would():
    data = graph()
    ranks, _ = filtered(np.zeros((len(data.test), 7), "float32"), data.test, Known(data))
    rivals = [7 - len(set(Known(data).places(x[None])[1])) for x in data.test.x]
    np.testing.assert_allclose(ranks, [1 + n / 2 for n in rivals])


def test_the_loss_is_that_of_a_softmax_over_all():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 5, (6, 9)).astype("float32"), rng.integers(0, 9, 6)
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    assert link_prediction.cross_entropy(logits, y) == pytest.approx(-np.log(p[np.arange(6), y]).sum(), rel=1e-6)


def test_the_families_are_learnt(family):
    metrics = RunFolder(family).read_metrics()
    assert metrics["test"]["mrr"] >= 0.95
    assert metrics["test"]["left_out_triples"] == metrics["test"]["of_unseen_entities"] == 0
    assert 0.3 < metrics["validation"]["mrr"] <= 1


def test_the_run_shows_ranks_relations_and_a_plane(family):
    with (family / "ranks.tsv").open() as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    scores = RunFolder(family).read_metrics()["test"]
    assert len(rows) == scores["examples"]
    assert np.mean([1 / float(row["rank"]) for row in rows]) == pytest.approx(scores["mrr"])
    assert all((row["first"] == row["answer"]) == (float(row["rank"]) == 1) for row in rows)
    page = (family / "report.html").read_text()
    assert "filtered MRR" in page and "Hardest questions" in page and "principal components" in page
    assert "<td>father</td>" in page and ">Colin<" in page


def test_questions_have_ranked_answers(family, capsys):
    assert predict.main([str(family), "Colin father ?", "?\twife\tPenelope", "--top", "3"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows[1::3]] == ["James", "Christopher"] and len(rows) == 7
    assert predict.main([str(family), "Sophia mother ?", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["label"] == "Lucia" and 0 < found["probability"] <= 1


@pytest.mark.parametrize(("question", "message"), [
    ("Coln father ?", "unknown entity 'Coln': expected one of 24 names; did you mean 'Colin'"),
    ("Colin fathr ?", "unknown relation 'fathr': .* did you mean 'father'"),
    ("Colin ? James", "expected 'HEAD RELATION .' or '. RELATION TAIL', .*received 3 words with 1 question marks"),
    ("Colin father", "received 2 words with 0 question marks"),
    ("? father ?", "received 3 words with 2 question marks"),
    ("", "received 0 words"),
])  # fmt: skip
def test_what_is_no_question_is_refused(question, message, family, capsys):
    import re

    assert predict.main([str(family), question]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_other_commands(family, tmp_path, capsys):
    assert evaluate.main([str(family), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["mrr"] == pytest.approx(RunFolder(family).read_metrics()["test"]["mrr"])
    other = write(tmp_path / "other.tsv", [("Colin", "father", "James"), ("Colin", "friend", "James")], None)
    assert evaluate.main([str(family), "--data", str(other)]) == 0
    out, err = capsys.readouterr()
    assert "2 examples" in out and "mrr " in out and "1 of 2 train triples have an entity or a relation" in err
    assert generate.main([str(family), "x"]) == 2
    assert "this one gives entities; use zoo.predict" in capsys.readouterr().err
    assert explain.main([str(family), "x"]) == 2
    assert "this one is for link_prediction" in capsys.readouterr().err


@pytest.mark.parametrize(("negatives", "batch", "size"), [(256, 512, 32), (2000, 512, 16), (12, 16, 1), (64, 96, 2),
                                                          (7, 512, 1), (256, 4096, 64)])  # fmt: skip
def test_groups_fit_into_every_replicas_share(negatives, batch, size):
    assert group_size(negatives, batch) == size
    assert negatives % size == 0
    assert all(batch // replicas % size == 0 for replicas in (1, 2, 4, 8, 16) if batch % replicas == 0)


def config(output, **values):
    values = SMALL | values
    settings = {"dim": 6, "strength": 0.1} | values.pop("settings", {})
    return TrainConfig(model="kg_embedding", dataset="family", output=output, settings=settings, **values)


@pytest.mark.slow
@pytest.mark.parametrize("negatives", [16, 0])
def test_two_replicas_train_as_one(negatives, tmp_path):
    """The penalty, the candidates that examples share, and clipping."""
    results = []
    for name, values in (("one", {}), ("two", {"strategy": "mirrored", "virtual_devices": 2})):
        settings = {"negatives": negatives, "strength": 2.0}
        results.append(
            fit(config(tmp_path / name, batch_size=64, epochs=1, settings=settings, **values), verbose=False)
        )
    one, two = results
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    for ours, theirs in zip(one.history, two.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.slow
def test_candidates_are_the_same_after_a_stop(tmp_path):
    from tests.conftest import stop_after
    from zoo.console.errors import Interrupted

    values = {"epochs": 2, "checkpoint_every": 1, "settings": {"negatives": 16}}
    whole = fit(config(tmp_path / "whole", **values), verbose=False)
    with pytest.raises(Interrupted):
        fit(config(tmp_path / "broken", **values), callbacks=[stop_after(7)], verbose=False)
    rest = fit(config(tmp_path / "broken", resume=True, **values), verbose=False)
    for a, b in zip(whole.model.get_weights(), rest.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_devices_of_jax_train_as_tensorflow_does(tmp_path):
    one = fit(config(tmp_path / "tensorflow", epochs=1, settings={"negatives": 16}), verbose=False)
    words = ["zoo.train", "--model", "kg_embedding", "--dataset", "family", "--epochs", 1, "--set", "dim=6",
             "--set", "strength=0.1", "--set", "negatives=16", "--strategy", "data_parallel", "--virtual-devices", 2,
             "--optimizer", "sgd", "--learning-rate", 0.5, "--batch-size", 16]  # fmt: skip
    run_module(*words, "--output", tmp_path / "jax", cwd=ROOT, check=0)
    two = RunFolder(tmp_path / "jax").read_metrics()
    # Each engine begins with numbers of its own.
    assert two["test"]["examples"] == one.metrics["test"]["examples"]
    assert two["train"]["loss"] == pytest.approx(one.metrics["train"]["loss"], abs=0.05)


@pytest.mark.slow
def test_two_workers_train_as_one_process(tmp_path):
    words = ["zoo.train", "--model", "kg_embedding", "--dataset", "family", "--epochs", 2, "--set", "dim=6", "--set",
             "strength=0.1", "--optimizer", "sgd", "--learning-rate", 0.5, "--batch-size", 16]  # fmt: skip
    launch = ("strategies.launch", "--workers", 2, "--", "python", "-m")
    run_module(*words, "--output", tmp_path / "one", cwd=tmp_path, check=0)
    run_module(*launch, *words, "--strategy", "multi_worker", "--output", tmp_path / "two", cwd=tmp_path, check=0)
    one, two = (named(RunFolder(tmp_path / name).load_model()) for name in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(one[name].numpy(), two[name].numpy(), atol=1e-5)


def test_scores_that_need_too_much_memory_are_refused_with_a_way_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(link_prediction, "MOST_NUMBERS", 1000)
    words = ["--model", "kg_embedding", "--dataset", "family", "--set", "scorer=mlp", "--output", str(tmp_path / "r")]
    assert train.main(words) == 2
    assert "expected --set negatives=N, such as 256, or a smaller --batch-size" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("words", "message"), [
    (("--model", "cnn", "--dataset", "family"), "and family is for link_prediction"),
    (("--model", "kg_embedding"), "learns link_prediction, and digits is for classification"),
    (("--model", "kg_embedding", "--dataset", "family", "--set", "num_entities=3"), "this is taken from the data"),
    (("--model", "kg_embedding", "--dataset", "family", "--set", "scorer=transh"), "did you mean 'transe'"),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main([*words, "--epochs", "1"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_size_that_the_model_cannot_have_is_refused(tmp_path, capsys):
    words = ["--model", "kg_embedding", "--dataset", "family", "--set", "dim=7", "--output", str(tmp_path / "r")]
    assert train.main(words) == 2
    assert "dim: expected an even number for scorer complex, received 7" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.fixture
def kin(tmp_path):
    """Some of the families' triples with a stranger, and people with the family that each is of, as a table."""
    from zoo.data.sources import embedded

    kept = [triple for triple in embedded.family() if "A" not in (triple[0][0], triple[2][0])]
    write(tmp_path / "kin.tsv", [*kept, ("Zoe", "sister", "Lucia"), ("Zoe", "aunt", "Victoria")], None)
    people = [(head, "english" if i < 56 else "italian") for i, (head, _, _) in enumerate(embedded.family())]
    rows = "".join(f"{name},{label}\n" for name, label in people)
    (tmp_path / "people.csv").write_text(f"text,label\n{rows}")
    return tmp_path


def test_another_graph_takes_over_rows_by_name_and_freezes_them(family, kin, capsys):
    dim = RunFolder(family).read_config()["config"].settings["dim"]
    words = ["--data", kin / "kin.tsv", "--init-from", family, "--freeze", "entities", "--set", f"dim={dim}"]
    words += ["--epochs", 1, "--batch-size", 16, "--output", kin / "run"]
    assert train.main(["--model", "kg_embedding", *map(str, words)]) == 0
    assert "rows copied by name, the others are random" in capsys.readouterr().err
    models = [RunFolder(path) for path in (family, kin / "run")]
    tables = [np.asarray(run.load_model().entities.embeddings) for run in models]
    names = [run.read_config()["data"]["class_names"] for run in models]
    assert names[0].index("Colin") != names[1].index("Colin") and "Zoe" in names[1]
    for name in set(names[0]) & set(names[1]):
        np.testing.assert_array_equal(tables[1][names[1].index(name)], tables[0][names[0].index(name)])


@pytest.mark.slow
def test_a_classifier_of_names_takes_the_embeddings_frozen(family, kin):
    """Which family somebody is of, from what is known of them, with a row for each word of another vocabulary."""
    dim = RunFolder(family).read_config()["config"].settings["dim"]
    data = load(TrainConfig(model="lstm", data=kin / "people.csv", test_split=0.3).resolved())
    common = {"data": kin / "people.csv", "test_split": 0.3, "epochs": 12, "batch_size": 8, "learning_rate": 1e-2}
    begun = TrainConfig(model="lstm", settings={"units": (8,), "embedding_dim": dim}, init_from=family,
                        freeze=("embedding",), output=kin / "run", **common)  # fmt: skip
    result = fit(begun, verbose=False)
    assert result.metrics["test"]["accuracy"] > 0.9
    table, theirs = result.model.embedding.embeddings.numpy(), RunFolder(family).load_model().entities.embeddings
    entities = RunFolder(family).read_config()["data"]["class_names"]
    for name in ("Colin", "Sophia"):
        ((row,),) = data.vocabulary.rows([name])
        np.testing.assert_array_equal(table[row], np.asarray(theirs)[entities.index(name)])


def test_what_cannot_be_taken_over_is_refused(family, kin, capsys):
    words = ["--model", "lstm", "--data", str(kin / "people.csv"), "--init-from", str(family), "--epochs", "1"]
    assert train.main([*words, "--set", "embedding_dim=3", "--output", str(kin / "x")]) == 2
    assert "received embedding/embeddings" in capsys.readouterr().err
    write(kin / "roads.tsv", TRIPLES, None)
    dim = RunFolder(family).read_config()["config"].settings["dim"]
    words = ["--model", "kg_embedding", "--data", str(kin / "roads.tsv"), "--init-from", str(family)]
    words += ["--epochs", "1", "--batch-size", "16", "--set", f"dim={dim}"]
    assert train.main([*words, "--output", str(kin / "x")]) == 2
    assert "expected a run with names of roads" in capsys.readouterr().err
    assert not (kin / "x").exists()


def test_adagrad_is_the_papers():
    """Duchi et al. (2011): each number's rate is divided by the root of the sum of its squared gradients."""
    from zoo.training.optimization import optimizer

    config = TrainConfig(model="kg_embedding", dataset="family", optimizer="adagrad", learning_rate=0.3, warmup=0.0,
                         schedule="constant", weight_decay=0.0, clip_norm=0.0).resolved()  # fmt: skip
    variable, chosen = keras.Variable([1.0, -2.0, 0.0]), optimizer(config, 10)
    chosen.build([variable])
    expected, total = np.array([1.0, -2.0, 0.0]), np.zeros(3)
    for gradient in ([1e-6, 3.0, 0.0], [2e-6, -1.0, 0.0]):
        chosen.apply([keras.ops.convert_to_tensor(np.array(gradient, "float32"))])
        total += np.square(gradient)
        expected -= 0.3 * np.array(gradient) / np.maximum(np.sqrt(total), 1e-30)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4)
