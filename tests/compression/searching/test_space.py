"""The search space: every choice is a valid recipe."""

import json
import os
import random

import pytest

from compression.recipes import language
from compression.searching import space, worker
from compression.searching.budget import Budget
from compression.searching.plan import SearchPlan
from compression.searching.screening import LEAST_FINISHED, rank_correlation, stop_reason
from compression.searching.space import Range, Space
from zoo.console.errors import UsageError

WIDTHS = {"conv_1": 32, "conv_2": 64, "hidden": 10}


def default(**changes):
    options = {"epochs": 4, "learning_rate": 2e-3, "teachers": ["runs/cnn"], "gzipped": True, "timed": True}
    return space.default(WIDTHS, **options | changes)


def drawn(found, rng):
    return {n: rng.randint(v.low, v.high) if isinstance(v, Range) else rng.choice(v) for n, v in found.choices.items()}


def test_every_choice_is_a_recipe_that_parses_to_itself():
    found, rng = default(), random.Random(0)
    texts = set()
    for _ in range(500):
        recipe = found.recipe(drawn(found, rng))
        assert language.parse(str(recipe)) == recipe
        texts.add(str(recipe))
    assert len(texts) > 400
    for word in ("channels", "init=scratch", "prune", "cluster", "qat", "distill", "int4", "float32"):
        assert any(word in text for text in texts), word


def test_choices_without_effect_are_omitted():
    found = default()
    whole = found.scaled(1, precision="float32", qat=True, distill="runs/cnn", per_tensor=True)
    assert str(found.recipe(whole)) == "float32"
    narrow = found.scaled(0.5, precision="int8", qat=True, distill="none", epochs=2, rate=1.0)
    assert str(found.recipe(narrow)) == (
        "channels(keep=conv_1:16|conv_2:32|hidden:5, epochs=8, learning_rate=0.002) + qat(epochs=2,"
        " learning_rate=0.0002) + int8(per_tensor=true)"
    )
    # Later stages have fewer epochs and a lower learning rate than a single stage.
    alone = found.scaled(1, sparsity=0.8, qat=False, distill="none", precision="int8", per_tensor=False, rate=1.0)
    assert str(found.recipe(alone)) == "prune(0.8, epochs=4, learning_rate=0.002) + int8"


def test_sparsity_and_clusters_are_searched_only_with_a_limit_of_gzipped_bytes():
    assert default(gzipped=False).choices["sparsity"] == (0.0,)
    assert default(gzipped=False).choices["clusters"] == (0,)
    assert len(default().choices["sparsity"]) > 1
    assert "float32" not in default(timed=False).choices["precision"]


def test_memory_is_searched_on_request_and_only_of_files_in_int8():
    assert "memory" not in default().choices
    found = default(memory=("patches", "plan"))
    alone = {"precision": "int8", "qat": False, "per_tensor": False}
    assert str(found.recipe(found.scaled(1, **alone))) == "int8(patches=auto, plan=true)"
    assert str(found.recipe(found.scaled(1, **alone, memory="plan"))) == "int8(plan=true)"
    assert str(found.recipe(found.scaled(1, **alone | {"precision": "dynamic"}))) == "dynamic"
    assert space.narrowed(found, {"memory": "usual"}).choices["memory"] == ("usual",)
    with pytest.raises(UsageError, match="memory: expected one of usual, plan, patches"):
        space.narrowed(found, {"memory": "none"})


def test_a_space_survives_json():
    found = default(memory=("patches", "plan"))
    assert Space.from_json(found.to_json()) == found
    assert len(found.lines()) == len(found.choices)


def test_narrowing(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('[space]\n"width.conv_*" = "4:16"\nprecision = ["int8", "int4"]\nqat = true\nepochs = 2\n')
    found = space.narrowed(default(), space.read(file))
    assert found.choices["width.conv_1"] == found.choices["width.conv_2"] == Range(4, 16)
    assert found.choices["width.hidden"] == Range(1, 10)
    assert found.choices["precision"] == ("int8", "int4")
    assert found.choices["qat"] == (True,) and found.choices["epochs"] == (2,)
    assert space.narrowed(default(), {"width.hidden": "7"}).choices["width.hidden"] == Range(7, 7)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("width.conv1", "4:8", "did you mean 'width.conv_1'"),
        ("width.hidden", "4:16", "expected 1 <= LOW <= HIGH <= 10, received '4:16'"),
        ("width.hidden", "8:4", "expected 1 <= LOW <= HIGH <= 10, received '8:4'"),
        ("width.hidden", "some", "expected LOW:HIGH or a whole number, received 'some'"),
        ("precision", "int8,int9", "expected one of float32.*received 'int9'.*did you mean"),
        ("qat", "maybe", "expected one of true, false, received 'maybe'"),
        ("sparsity", "1", "expected a share from 0 to below 1, received '1'"),
        ("clusters", "1", "expected 0, or at least 2, received '1'"),
        ("epochs", "0", "expected a number above 0, received '0'"),
        ("rate", "1,1", "expected different values"),
    ],
)
def test_invalid_values_are_usage_errors(name, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        space.narrowed(default(), {name: text})


def test_invalid_toml_files_are_usage_errors(tmp_path):
    for content in ("[space", "[other]\na = 1"):
        (tmp_path / "space.toml").write_text(content)
        with pytest.raises(UsageError, match=r"--space-file .*: expected a (TOML file with a )?table \[space\]"):
            space.read(tmp_path / "space.toml")
    for content, sentence in (
        (b"a = " + b"[" * 10_000, "it is nested too deeply"),
        (b"[space]\nepochs = " + b"9" * 5000, "Exceeds the limit"),
        (b"[space]\nepochs = 0x" + b"f" * 5000, "expected numbers of at most 64 bits"),
        (b"[space]\nsparsity" + b".a" * 2000 + b" = 1", "expected a string, a number or a list of them"),
        (b"[space]\nsparsity = [[0.5]]", "expected a string, a number or a list of them"),
        (b"[space]\n# " + b"a." * 10_000, "expected at most 16,384 bytes, received 20,010"),
        (b"\xff", "can't decode byte"),
    ):
        (tmp_path / "space.toml").write_bytes(content)
        with pytest.raises(UsageError, match=f"--space-file.*: .*{sentence}"):
            space.read(tmp_path / "space.toml")
    with pytest.raises(UsageError, match="--space rate: expected a number above 0, received 'inf'"):
        space.narrowed(default(), {"rate": "inf"})
    with pytest.raises(UsageError, match="No such file"):
        space.read(tmp_path / "absent.toml")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.toml")
        with pytest.raises(UsageError, match="No such file"):
            space.read(tmp_path / "pipe.toml")


def ended(*pairs):
    """Return rows of 1,000, 1,001, ... bytes with the given (estimate, accuracy) pairs."""
    return [{"bytes": 1000 + i, "estimate": e, "accuracy": a} for i, (e, a) in enumerate(pairs)]


def guess(bytes, accuracy):
    return {"bytes": bytes, "gzip_bytes": bytes, "latency_ms": 0.1, "accuracy": accuracy}


def test_a_trial_stops_beyond_the_budget_or_behind_files_with_better_estimates():
    plan = SearchPlan(default(), Budget(max_bytes=5000, min_accuracy=0.9))
    assert "beyond max bytes" in stop_reason(guess(5001, 0.9), plan, [])
    assert not stop_reason(guess(5000, 0.1), plan, [])  # nothing to compare with yet
    good = ended(*((0.2 + 0.05 * i, 0.8 + 0.01 * i) for i in range(LEAST_FINISHED + 2)))
    assert rank_correlation(good) == pytest.approx(1)
    assert "had a better estimate" in stop_reason(guess(2000, 0.1), plan, good)
    assert not stop_reason(guess(999, 0.1), plan, good)  # smaller than all of them
    assert not stop_reason(guess(2000, 0.6), plan, good)
    # Estimates that do not correlate with final accuracies stop no trial.
    bad = ended(*((0.2 + 0.05 * i, 0.9 - 0.01 * i) for i in range(LEAST_FINISHED + 2)))
    assert rank_correlation(bad) == pytest.approx(-1)
    assert not stop_reason(guess(2000, 0.1), plan, bad)
    assert rank_correlation(good[: LEAST_FINISHED - 1]) is None


def test_a_further_process_reports_a_mistake_in_one_sentence(tmp_path, capsys):
    chosen = {"run": str(tmp_path / "absent"), "teachers": [], "folder": str(tmp_path), "kernel": "auto"}
    plan = {"space": default().to_json(), "budget": {}}
    job = {"chosen": chosen | {"threads": 1, "options": {}}, "plan": plan, "number": 1}
    assert worker.main([json.dumps(job)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("compression.search: process 1: ") and "absent: expected the folder of a run" in told
    assert told.count("\n") == 1
