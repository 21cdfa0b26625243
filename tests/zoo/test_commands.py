"""One test a command: run `main` as a user would, on small data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo import augment, evaluate, predict, train
from zoo import list as listing


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def npz(place):
    from tests.conftest import blobs

    x, y = blobs(120, (20, 20))
    names = np.array(["high", "low", "middle"])
    np.savez(place / "blobs.npz", x=(x * 255).astype("uint8"), y=names[y])
    return place / "blobs.npz"


@pytest.fixture(scope="module")
def run(npz, place):
    """The folder of a run that has learned the blobs."""
    words = (
        f"--model simplenet --data {npz} --epochs 4 --set units=16 --learning-rate 0.01 --batch-size 8"
        f" --output {place}/run"
    )
    assert train.main(words.split()) == 0
    return place / "run"


@pytest.fixture(scope="module")
def texts(place):
    """The folder of a run on texts."""
    table = place / "films.csv"
    rows = ["review,verdict", *(f"such a {w} film {i},{w}" for i in range(40) for w in ("good", "dull"))]
    table.write_text("\n".join(rows))
    words = (
        f"--model lstm --data {table} --text-column review --label-column verdict --epochs 6 --batch-size 8"
        f" --learning-rate 0.02 --set units=8 --output {place}/texts"
    )
    assert train.main(words.split()) == 0
    return place / "texts"


def test_train_ends_with_the_folder_and_writes_progress_to_stderr(run, npz, capsys):
    words = f"--model simplenet --data {npz} --epochs 2 --output {run.parent}/second"
    assert train.main(words.split()) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"{run.parent}/second"
    assert "test accuracy" in out
    assert [line.split()[1] for line in err.splitlines() if line.startswith("epoch")] == ["1/2", "2/2"]


def test_train_json_is_one_object(npz, place, capsys):
    words = f"--model simplenet --data {npz} --epochs 1 --output {place}/third --json"
    assert train.main(words.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["run"] == f"{place}/third"
    assert result["test"]["examples"] == 24


def test_train_chooses_a_free_folder_under_runs(npz, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "small-blobs").mkdir(parents=True)
    (tmp_path / "runs" / "small-blobs" / "mine").touch()
    assert train.main(["--model", "small", "--data", str(npz), "--epochs", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "runs/small-blobs-2"


def test_evaluate_repeats_the_runs_own_test_numbers(run, capsys):
    assert evaluate.main([str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    stored = json.loads((run / "metrics.json").read_text())["test"]
    assert {k: result[k] for k in stored} == stored
    assert stored["accuracy"] == 1.0
    assert evaluate.main([str(run), "--split", "validation"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"{run}/evaluations/blobs-validation.json"


def test_evaluate_on_other_data_with_the_runs_classes(run, place, capsys):
    folder = place / "others"
    for name, rows in (("high", slice(0, 7)), ("low", slice(7, 14)), ("middle", slice(14, 20))):
        (folder / name).mkdir(parents=True)
        picture = np.full((20, 20), 40, "uint8")
        picture[rows] = 200
        for i in range(4):
            Image.fromarray(picture).resize((40, 40)).save(folder / name / f"{i}.png")
    assert evaluate.main([str(run), "--data", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["examples"], result["accuracy"]) == (12, 1.0)
    (folder / "middle").rename(folder / "centre")
    assert evaluate.main([str(run), "--data", str(folder)]) == 2
    assert "class 'centre' is not one of high, low, middle" in capsys.readouterr().err


def test_predict_images_and_arrays(run, npz, place, capsys):
    picture = np.full((20, 20), 40, "uint8")
    picture[14:] = 200
    Image.fromarray(picture).save(place / "one.png")
    assert predict.main([str(run), str(place / "one.png"), str(npz)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["input", "label", "probability"]
    assert rows[1][:2] == [str(place / "one.png"), "middle"]
    assert len(rows) == 1 + 1 + 120
    truth = np.load(npz)["y"]
    assert [row[1] for row in rows[2:]] == truth.tolist()


def test_predict_json_with_the_top_classes(run, place, npz, capsys):
    assert predict.main([str(run), str(npz), "--top", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    first = rows[0]
    assert first["label"] == first["top"][0]["label"]
    assert first["top"][0]["probability"] >= first["top"][1]["probability"]
    assert len(first["top"]) == 2


def test_predict_tells_of_arrays_beyond_the_pixels_of_files(run, npz, place, capsys):
    pixels = np.load(npz)["x"][:2, ..., None].astype("float32")
    for name, x, told in (("bytes", pixels, True), ("unit", pixels / 255, False)):
        np.savez(place / f"{name}.npz", x=x)
        assert predict.main([str(run), str(place / f"{name}.npz")]) == 0
        err = capsys.readouterr().err
        assert ("floating-point pictures are used as they are, x from 0 to " in err) == told, err


def test_predict_texts_and_tables(texts, place, capsys):
    assert predict.main([str(texts), "such a dull film", "a good film", str(place / "films.csv")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1] for row in rows[:4]] == ["dull", "good", "good", "dull"]
    assert len(rows) == 2 + 80


def test_predict_reads_lists_of_words_as_training_does(texts, place, capsys):
    (place / "words.jsonl").write_text('{"review": ["such", "a", "dull", "film"]}\n')
    assert predict.main([str(texts), str(place / "words.jsonl"), "such a dull film", "--json"]) == 0
    listed, said = json.loads(capsys.readouterr().out)
    assert listed["probability"] == pytest.approx(said["probability"], abs=1e-6)


def test_evaluate_names_a_whole_file_and_says_what_was_trained_on(run, npz, capsys):
    assert evaluate.main([str(run), "--json"]) == 0
    test = json.loads(capsys.readouterr().out)
    assert test["split"] == "test" and "seen_in_training" not in test
    assert evaluate.main([str(run), "--data", str(npz), "--json"]) == 0
    out, err = capsys.readouterr()
    whole, trained_on = json.loads(out), json.loads((run / "metrics.json").read_text())["split_examples"]["train"]
    assert (whole["split"], whole["examples"], whole["seen_in_training"]) == ("all", 120, trained_on)
    assert whole["path"] == f"{run}/evaluations/blobs-all.json"
    assert f"blobs, all data: the run was trained on {trained_on} of these 120 examples" in err
    kept = [json.loads((run / "evaluations" / f"blobs-{split}.json").read_text()) for split in ("test", "all")]
    assert [(each["split"], each["examples"]) for each in kept] == [("test", test["examples"]), ("all", 120)]
    assert evaluate.main([str(run), "--data", str(npz)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert (out[0], out[-1]) == ("blobs, all data, 120 examples", whole["path"])


def test_scores_of_another_file_of_the_same_name_are_kept_beside_the_first(run, npz, tmp_path, capsys):
    other = tmp_path / npz.name
    shutil.copy(npz, other)
    paths = []
    for file in (npz, other, npz, other):
        assert evaluate.main([str(run), "--data", str(file), "--output", str(tmp_path / "scores")]) == 0
        paths.append(Path(capsys.readouterr().out.splitlines()[-1]))
    assert [path.name for path in paths] == ["blobs-all.json", "blobs-2-all.json"] * 2
    assert json.loads(paths[0].read_text())["source"] == str(npz.resolve())
    assert json.loads(paths[1].read_text())["source"] == str(other.resolve())


def test_evaluate_uses_the_runs_vocabulary_and_columns(texts, capsys):
    assert evaluate.main([str(texts), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0


@pytest.mark.parametrize(("command", "words", "message"), [
    (predict, "{run} absent.png", "INPUT absent.png: expected a file, found none"),
    (predict, "{run} {run}/config.json", "expected an image or an .npz file, and it cannot be read"),
    (predict, "{run} {npz} --top 0", "--top: expected at least 1, received 0"),
    (predict, "{place} {npz}", "expected the folder of a run, found no config.json in it"),
    (predict, "{run}", "the following arguments are required: INPUT"),
    (evaluate, "{run} --split dev", "--split: expected one of train, validation, test, received 'dev'"),
    (evaluate, "{run} --dataset digits --data {npz}", "--dataset and --data: expected one of them, received both"),
    (evaluate, "{texts} --dataset digits", "digits: expected texts, received images"),
    (evaluate, "{run} --text-column nosuch", "--text-column nosuch: expected with texts, received blobs, whose"),
    (evaluate, "{run} --label-column nosuch", "--label-column nosuch: expected with a table or recordings with"),
    (evaluate, "{run} --data-dir {place}", "expected with a TFDS set, received with blobs"),
    (evaluate, "{texts} --label-column nosuch", "nosuch"),
    (augment, "--augment flipp", "did you mean 'flip'"),
    (augment, "--augment flip", "--augment: expected together with --preview, received without it"),
    (augment, "--output x.png --epochs 3", ": expected together with --preview, received without it"),
    (listing, "modls", "received 'modls'; did you mean 'models'"),
])  # fmt: skip
def test_mistakes_are_one_sentence(command, words, message, run, texts, npz, place, capsys):
    assert command.main(words.format(run=run, texts=texts, npz=npz, place=place).split()) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert message in err


def test_an_altered_model_file_is_refused(run, npz, capsys, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    content = bytearray((copy / "model.keras").read_bytes())
    content[-100] ^= 1
    (copy / "model.keras").write_bytes(content)
    assert predict.main([str(copy), str(npz)]) == 2
    assert "model.keras was truncated or altered" in capsys.readouterr().err
    (copy / "model.keras").unlink()
    assert predict.main([str(copy), str(npz)]) == 2
    assert "expected a model.keras, found none" in capsys.readouterr().err
    (copy / "config.json").write_text("{")
    assert predict.main([str(copy), str(npz)]) == 2
    assert "config.json is damaged" in capsys.readouterr().err


def test_unfinished_run_is_refused_with_the_way_on(run, npz, capsys, tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_bytes((run / "config.json").read_bytes())
    assert predict.main([str(tmp_path / "half"), str(npz)]) == 2
    assert "has not finished; continue it with --resume" in capsys.readouterr().err


def test_list_names_everything(capsys):
    from zoo.config import defaults, registry

    assert listing.main(["--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["models", "datasets", "strategies", "recipes", "pretrained"]
    assert list(result["models"]) == [*registry.MODELS, *registry.HUB_MODELS]
    assert "digits" in result["datasets"]
    assert len(result["recipes"]) == len(defaults.DEFAULTS) + len(defaults.TRANSFERS) + 2
    assert listing.main(["models"]) == 0
    assert "cnn" in capsys.readouterr().out


def test_no_network_and_no_prepared_set_says_both_ways_out_in_time(tmp_path, capsys, monkeypatch):
    import time

    from zoo.data.sources import tfds

    monkeypatch.setattr(tfds, "_reachable", lambda url: False)
    began = time.monotonic()
    assert train.main(["--dataset", "cifar10", "--data-dir", str(tmp_path)]) == 2
    assert time.monotonic() - began < 20
    err = capsys.readouterr().err
    assert "connect to a network" in err
    assert "--data-dir" in err


def test_a_host_that_is_not_there_is_not_reachable():
    from zoo.data.sources import tfds

    assert not tfds._reachable("http://127.0.0.1:9/none")
    assert not tfds._reachable("http://name.invalid/none")


def test_benchmarks_names_are_checked(capsys):
    from benchmarks import __main__ as benchmarks

    with pytest.raises(SystemExit) as ended:
        benchmarks.main(["acuracy"])
    assert ended.value.code == 2
    assert "did you mean 'accuracy'" in capsys.readouterr().err


def test_augment_draws_a_sheet_of_images_as_they_are_and_as_epochs_see_them(npz, place, capsys):
    words = f"--preview --data {npz} --augment flip+mixup --images 3 --epochs 2 --output {place}/sheets/sheet.png"
    assert augment.main(words.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{place}/sheets/sheet.png"
    with Image.open(place / "sheets" / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels.shape[1] == 450 and len(np.unique(pixels)) > 50  # three columns of 150 pixels
    plain = f"--preview --data {npz} --augment none --images 3 --epochs 2 --output {place}/sheets/plain.png"
    assert augment.main(plain.split()) == 0
    with Image.open(place / "sheets" / "plain.png") as sheet:
        row = np.asarray(sheet.convert("L"))[60:170]
    assert (row[:, 20:130] == row[:, 170:280]).mean() > 0.99  # unchanged in the first epoch


def test_augment_shows_images_of_all_classes_in_turn():
    labels = np.array([0, 0, 0, 2, 1, 1, 0])
    assert augment._of_all_classes(labels, 5).tolist() == [0, 4, 3, 1, 5]


def test_data_that_changed_since_the_training_are_told(run, npz, place, capsys):
    kept = npz.read_bytes()
    x, y = (np.load(npz)[name] for name in "xy")
    try:
        np.savez(npz, x=x[7:], y=y[7:])
        assert evaluate.main([str(run)]) == 0
        assert "the data changed since" in (err := capsys.readouterr().err) and "of these 23 test examples" in err
    finally:
        npz.write_bytes(kept)
    assert evaluate.main([str(run)]) == 0
    assert "changed" not in capsys.readouterr().err
