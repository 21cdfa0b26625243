"""Networks as people bring them become files that give the same answers."""

import json

import keras
import pytest

from benchmarks import guests, network_cells, networks

KINDS = ("custom_layer", "embedding", "two_inputs", "residual", "squeeze", "attention", "shared")
# Token ids cannot be calibrated for 16x8, and channels of a convolution that is called twice cannot be removed.
REFUSED = {("embedding", "int16x8"), ("keras_hub bert", "int16x8"), ("shared", "channels(0.5) + int8")}


def guest(name, folder):
    keras.utils.set_random_seed(0)
    model = guests.NETWORKS[name]()
    train, test = (guests.examples(model, count, seed) for seed, count in enumerate((192, 100)))
    guests.fit(model, 192)
    return network_cells.Guest(model, folder / "model.keras", train, test, folder)


@pytest.mark.slow
# Keras warns when it builds a copy of a layer without `build`, whose sublayers are then built by the first call.
@pytest.mark.filterwarnings("ignore:.*unbuilt state:UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_a_network_works_in_some_recipes(name, tmp_path):
    found = guest(name, tmp_path)
    for recipe in ("float32", "int8", "prune(0.5) + int8"):
        cell = found.carried_out(recipe)
        assert "bytes" in cell and networks.right(cell), (recipe, cell)
        assert not cell.get("float_operators"), (recipe, cell)


@pytest.mark.slow
def test_a_stock_file_is_made_and_compared(tmp_path):
    found = guest("two_outputs", tmp_path)
    found.model.save(found.file)
    stock = found.stock("float32")
    assert stock["same"] == 1 and stock["off"] < 1e-4 and stock["bytes"] > 1000


@pytest.mark.slow
def test_a_process_that_ends_is_a_cell_and_not_the_end(tmp_path):
    row = networks.row("absent", ["float32"], tmp_path)
    assert "KeyError: 'absent'" in row["cells"]["float32"]["fault"]
    (text,) = networks.table({"recipes": ["float32"], "rows": [row]})[2:3]
    assert "**fault (1)**" in text


def test_measured_cells_are_kept(tmp_path, monkeypatch):
    cells = {"float32": {"bytes": 1, "same": 1.0, "stock": {"failed": ""}}, "int8": {"refused": "no integers"}}
    (tmp_path / "two-words.json").write_text(json.dumps({"cells": cells, "parameters": 9, "score": 1.0}))
    monkeypatch.setattr(networks, "_child", lambda *_: pytest.fail("measured again"))
    row = networks.row("two words", ["float32", "int8"], tmp_path)
    lines = networks.table({"recipes": ["float32", "int8"], "rows": [row]})
    assert lines[2] == "| two words<br>9, 100.0% | ✓ 0.0 KB, 100.0%<br>stock fails | refused (1) |"
    assert lines[-1] == "1. no integers"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", networks.SMALL)
def test_a_small_network_works_or_is_refused_in_every_recipe(name, tmp_path):
    row = networks.row(name, networks.RECIPES, tmp_path)
    for recipe, cell in row["cells"].items():
        assert ("refused" in cell) == ((name, recipe) in REFUSED), (recipe, cell)
        if "refused" not in cell:
            # Four bits are too few for some of these numbers and for answers that are close.
            assert "bytes" in cell and (recipe == "int4" or networks.right(cell)), (recipe, cell)
