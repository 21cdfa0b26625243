"""The pages show the newest measurements, and the measurements reach their targets."""

import importlib
import re
import statistics

import numpy as np
import pytest
from PIL import Image

from benchmarks import __main__ as benchmarks
from benchmarks import (
    cross_modal,
    distillation,
    ensembles,
    evaluation,
    gan,
    kg_embedding,
    lenets,
    matrix,
    networks,
    online,
    readme,
    robustness,
    rounds,
    runtimes,
    search,
    sequences,
    throughput,
    transfer,
    tutorial,
)

# Maximum difference of a probability from Keras.
TOLERANCES = {"float32": 1e-5, "float16": 2e-3}
# A simple recurrent layer amplifies the rounding of its weights over 28 steps: with weights rounded to float16, Keras
# differs by 3.3e-3, and the file is within 2.6e-6 of that model.
EXCEPTIONS = {("lstm, simple", "float16"): 4e-3}


@pytest.mark.parametrize("page", readme.PAGES)
def test_pages_show_the_newest_results(page):
    assert readme.updated(page) == (readme.ROOT / page).read_text(), "run `python -m benchmarks.readme`"


def test_every_page_with_a_mark_is_written():
    pages = [readme.ROOT / "README.md", *(readme.ROOT / "docs").rglob("*.md")]
    marked = [path for path in pages if "python -m benchmarks.readme -->" in path.read_text()]
    assert {path.relative_to(readme.ROOT).as_posix() for path in marked} == set(readme.PAGES)
    marks = [mark for path in marked for mark in re.findall(r"<!-- (\w+): ", path.read_text())]
    assert len(marks) == len(set(marks))  # nothing stands twice


def test_the_readme_has_a_row_for_each_precision():
    rows = readme.written("precisions", "").splitlines()[2:]
    assert [row.split("`")[1] for row in rows[: len(matrix.PRECISIONS)]] == list(matrix.PRECISIONS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "cost")) for n in readme.DRAWN])
def test_reports_are_drawn(name, tmp_path):
    _, result = readme.newest(name)
    importlib.import_module(f"benchmarks.{name}").draw(result, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn, Image.open(readme.picture(name)) as kept:
        assert drawn.size == kept.size  # by the number of cases
        assert len(np.unique(np.asarray(drawn).reshape(-1, 4), axis=0)) > 50


@pytest.mark.parametrize("name", benchmarks.NAMES)
def test_every_benchmark_has_a_report_with_its_circumstances(name):
    if name in benchmarks.WITHOUT_REPORT:
        assert not list(readme.RESULTS.glob(f"*-{name}.json")), f"{name} has a report now"
        return
    report, numbers = readme.newest(name)
    text = report.read_text()
    assert numbers
    for word in ("Measured 20", f"python -m benchmarks {name}", "keras", "tensorflow", "cores"):
        assert word in text


def test_committed_results_reach_their_targets():
    _, accuracy = readme.newest("accuracy")
    assert len(accuracy["seeds"]) == 3
    for row in accuracy["rows"]:
        assert row["mean"] >= row["target"], row["model"]
    _, strategies = readme.newest("strategies")
    for row in strategies["equality"]:
        # Where training amplifies rounding, as the same epoch in float64 shows (docs/guides/strategies.md, limits).
        if (row["dataset"], row["precision"]) != ("mnist", "float32"):
            assert max(row["largest_difference"].values()) <= 1e-5, row
    _, startup = readme.newest("startup")
    for row in startup["rows"]:
        limit = startup["limit_seconds" if row["command"].endswith("--help") else "mistake_seconds"]
        assert row["median_seconds"] <= limit, row["command"]
    assert not any(row["backend_imported"] for row in startup["rows"])


# Targets of throughput that are missed, as docs/results/performance.md says.
MISSED = {("cnn", 128, "plain Keras"), ("transformer", 64, "PyTorch")}


def test_speed_reaches_its_targets():
    _, found = readme.newest("throughput")
    sides = {(row["model"], row["batch"], row["side"]): row["rounds"] for row in found["measured"]}
    for (model, batch), targets in throughput.TARGETS.items():
        for side, least in targets.items():
            if (model, batch, side) not in MISSED:
                times, _, _ = rounds.ratio(sides[model, batch, "zoo"], sides[model, batch, side])
                assert times >= least, (model, batch, side)
    _, found = readme.newest("evaluation")
    assert max(statistics.median(row["rounds"]) for row in found["files"]) >= evaluation.LEAST_IMAGES
    _, found = readme.newest("cost")
    for row in found["rows"]:
        assert row["exponents"]["ms"] <= row["expected"] + found["allowance"], row["name"]


def test_files_are_fast_and_right():
    _, found = readme.newest("runtimes")
    rows = {(row["model"], row["runtime"]): row for row in found["rows"]}
    plain = rows["cnn", "LiteRT float32"]
    near = [row for (model, _), row in rows.items() if model == "cnn" and row["accuracy"] >= plain["accuracy"] - 0.003]
    assert any(rounds.ratio(row["rounds"], plain["rounds"])[0] <= runtimes.TIMES for row in near)
    for model, form in (
        ("cnn", "float32"),
        ("cnn", "dynamic"),
        ("lstm", "float32"),
        ("lstm", "dynamic"),
        ("lstm", "int8"),
    ):
        ours, theirs = (
            statistics.median(rows[model, f"{name} {form}"]["rounds"]) for name in ("LiteRT", "ONNX Runtime")
        )
        assert ours <= theirs, (model, form)


def test_the_matrix_has_a_working_or_a_refused_cell_everywhere():
    _, found = readme.newest("matrix")
    cells = {(c["row"], c["kernel"], c["precision"]): c for c in found["cells"]}
    assert {(row, kernel) for row, kernel, _ in cells} == {(r, k) for r, (_, ks) in matrix.ROWS.items() for k in ks}
    assert len(cells) == len(matrix.PRECISIONS) * sum(len(kernels) for _, kernels in matrix.ROWS.values())
    assert not [cell for cell in cells.values() if "failed" in cell]
    # Each of these refusals has its test in tests/compression/test_tflite.py.
    known = ("of a loop crashes the TFLite converter", "has no int", "cannot calibrate it for whole-number inputs")
    for cell in cells.values():
        assert "bytes" in cell or any(words in cell["refused"] for words in known), cell
        if cell["precision"] in TOLERANCES and "bytes" in cell:
            tolerance = EXCEPTIONS.get((cell["row"], cell["precision"]), TOLERANCES[cell["precision"]])
            assert cell["largest_difference"] <= tolerance, cell
    for row, kernel in (("cnn", "auto"), ("simplenet", "auto"), ("lstm", "unrolled"), ("lstm", "fused")):
        assert cells[row, kernel, "int8"]["points"] >= -0.3
    assert cells["cnn", "auto", "int8"]["bytes"] <= 0.28 * cells["cnn", "auto", "float32"]["bytes"]


def test_networks_that_people_bring_work_or_are_refused():
    """A report may have fewer networks than there are: each takes minutes, and those measured are kept."""
    _, found = readme.newest("networks")
    assert {row["name"] for row in found["rows"]} <= {*networks.SMALL, *networks.LARGE} and found["rows"]
    assert found["recipes"] == list(networks.RECIPES)
    for row in found["rows"]:
        for recipe, cell in row["cells"].items():
            assert {"bytes", "refused"} & set(cell), (row["name"], recipe, cell)


def test_recipes_that_train_reach_their_targets():
    _, guide = readme.newest("tutorial")
    rows = {row["stage"]: row for row in tutorial.summary(guide)}
    assert rows["pruned_80_int8"]["ours"]["times"] >= 10 and rows["pruned_80_int8"]["ours"]["points"] >= -0.3
    assert rows["clustered_16_int8"]["ours"]["times"] >= 8
    assert rows["pcqat"]["ours"]["points"] >= -0.3
    _, found = readme.newest("lenets")
    groups = [rows for (network, _), rows in lenets.grouped(found).items() if network in lenets.NETWORKS]
    assert len(groups) == len(lenets.RECIPES)
    for rows in groups:
        network, error = rows[0]["network"], statistics.mean(row["error"] for row in rows)
        if network == "lenet300":
            assert error <= 0.019 and all(row["times"] >= 25 and row["times_gzip"] >= 64 for row in rows)
        elif "int8" in rows[0]["recipe"]:
            assert error <= 0.008 and all(row["times"] >= 162 for row in rows)
        else:
            assert error <= 0.0097 and all(row["times"] >= 250 for row in rows)
        # Compression must beat training a small network from scratch.
        for scratch in (row for row in found["rows"] if row["network"] not in lenets.NETWORKS):
            assert network == "lenet300" or scratch["bytes"] > rows[0]["bytes"] or scratch["error"] > error


def test_a_distilled_student_beats_one_alone_in_every_seed():
    _, found = readme.newest("distillation")
    rows = {(row["epochs"], row["seed"]): row for row in found["rows"]}
    assert set(rows) == {(half, seed) for half in distillation.HALVES for seed in distillation.SEEDS}
    for row in rows.values():
        assert min(row["taught"], row["taught_from_units"]) > row["small_alone"]
        assert row["from_units"] > row["untrained"]


def test_sequence_models_reach_their_targets():
    _, found = readme.newest("sequences")
    for row in found["rows"]:
        best = min if row["score"] == "validation loss" else max
        assert best(row["found"], row["target"]) == row["found"], row["name"]
    whole, *quantized = found["files"]
    for row in quantized:
        assert row["bytes"] <= sequences.LARGEST_SHARE * whole["bytes"]
        scores = row["test"]
        assert abs(scores["litert"]["bleu"] - scores["keras"]["bleu"]) <= sequences.LARGEST_LOSS
    _, step = readme.newest("transformer_step")
    speeds = {(row["side"], row["precision"]): row["tokens_per_second"] for row in step["rows"]}
    assert all(speeds["zoo", precision] >= speeds["PyTorch", precision] for _, precision in speeds)
    assert len({row["parameters"] for row in step["rows"]}) == 1
    _, decoding = readme.newest("decoding")
    assert all(row["same_tokens"] == 1 for row in decoding["rows"])


def test_images_and_captions_reach_their_targets():
    _, found = readme.newest("cross_modal")
    for scores in (found["rows"][0]["test"], *(row["test"]["litert"] for row in found["files"])):
        assert scores["zero_shot_accuracy"] >= cross_modal.ZERO_SHOT
        assert scores["caption_to_image_recall_at_10"] >= cross_modal.RECALL_AT_10


def test_drawn_images_reach_their_targets():
    _, found = readme.newest("gan")
    first = found["rows"][0]
    assert found["classifier"]["test"]["accuracy"] >= gan.CLASSIFIER_ACCURACY
    assert all(first["test"][name] >= least for name, least in gan.TARGETS.items())
    assert first["seconds"] < 60 * gan.MINUTES
    assert {row["name"] for row in found["rows"]} == set(gan.ROWS)


def test_knowledge_graphs_have_every_scorer_and_reach_their_targets():
    _, found = readme.newest("kg_embedding")
    rows = {(row["dataset"], row["scorer"]): row for row in found["rows"]}
    assert set(rows) == {("wordnet/WN18RR", s) for s in kg_embedding.WORDNET} | {
        ("family", s) for s in kg_embedding.FAMILY
    }
    assert rows["family", "complex"]["test"]["mrr"] >= kg_embedding.FAMILY_TARGET
    best = rows["wordnet/WN18RR", "complex"]
    assert best["test"]["mrr"] >= kg_embedding.TARGET and best["seconds"] < 60 * kg_embedding.MINUTES
    for row in found["files"]:
        assert abs(row["test"]["litert"]["mrr"] - row["test"]["keras"]["mrr"]) < 0.01


def test_transfer_reaches_its_gain_with_few_labels():
    _, found = readme.newest("transfer")
    assert {(row["task"], row["way"]) for row in found["rows"]} == {
        (t, w) for t in transfer.TASKS for w in transfer.WAYS
    }
    assert all(len(row["accuracies"]) == transfer.DRAWS for row in found["rows"])
    assert statistics.mean(transfer.points(found, "letters", list(transfer.WAYS)[-1])) >= transfer.LEAST


def test_online_learning_recovers_from_a_drift():
    _, found = readme.newest("online")
    rows = {(row["degrees"], row["rehearsal"]): row for row in found["rows"]}
    assert list(rows) == list(online.ROWS)
    assert rows[online.ROWS[0]]["recovered"] <= online.WITHIN
    # Rehearsal reduces forgetting.
    for degrees in {degrees for degrees, _ in rows}:
        assert rows[degrees, 500]["test"] > rows[degrees, 0]["test"]


def test_searches_find_files_within_their_budgets_and_beat_drawing_at_random():
    _, found = readme.newest("search")
    assert {row["run"]: [] for row in found["rows"]}.keys() == search.BUDGETS.keys()
    for row in found["rows"]:
        best = row["best"]
        assert best["bytes"] <= row["most"] and best["test_accuracy"] >= row["least"], row["run"]
        assert row["again"] and row["seconds"] <= 3600
    volumes = {(row["seed"], row["sampler"]): row["hypervolume"] for row in found["compared"]}
    assert len(volumes) == len(search.SEEDS) * len(search.SAMPLERS)
    for seed in search.SEEDS:
        assert volumes[seed, "tpe"] > volumes[seed, "random"]


def test_ensembles_beat_their_best_member_and_teach():
    _, found = readme.newest("ensembles")
    assert len(found["rows"]) == ensembles.DRAWS
    for row in found["rows"]:
        assert len(row["members"]) == ensembles.MEMBERS
        assert row["test"]["accuracy"] > max(row["members"])
        assert row["calibration"]["test"]["ece"] <= ensembles.ECE
    student = found["student"]
    assert student["taught"]["test"]["litert"]["accuracy"] > student["alone"]["test"]["accuracy"]


def test_adversarial_training_reaches_its_targets():
    _, found = readme.newest("robustness")
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == set(robustness.ROWS)
    attacked = {name: row["attacks"]["pgd"]["keras"][1] for name, row in rows.items()}
    assert rows["adversarial"]["test"]["accuracy"] >= robustness.CLEAN
    assert attacked["adversarial"] >= robustness.ATTACKED > attacked["plain"]


def test_steps_that_prune_or_quantize_are_within_their_cost():
    _, found = readme.newest("training_cost")
    for row in found["rows"]:
        times = row["milliseconds"]
        for text in ("prune(0.8, end=200)", "qat"):
            assert times[text] <= found["target"] * times["plain"], (row["model"], text)
