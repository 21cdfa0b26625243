"""The page of a classifier: the surest mistakes and the classes that are confused most."""

import re
import shutil
import warnings

import numpy as np
import pytest

from docs import browser
from zoo.reports import page as report
from zoo.tasks.pages import classes
from zoo.tasks.pages.classes import confused_pairs, worst_mistakes

WINDOW = "<meta name=viewport content='width=device-width, initial-scale=1'>"


def test_mistakes_are_sorted_by_the_probability_of_the_wrong_answer():
    p = np.array([[0.6, 0.3, 0.1], [0.05, 0.9, 0.05], [0.34, 0.33, 0.33], [0.1, 0.2, 0.7], [0.02, 0.48, 0.5]])
    y = np.array([1, 1, 2, 1, 0])  # the third has the least sure answer, the last the least probable truth
    found = worst_mistakes(np.log(p), y, 3)
    assert [m["index"] for m in found] == [3, 0, 4]
    np.testing.assert_allclose([m["probability"] for m in found], [0.7, 0.6, 0.5])
    assert [(m["true"], m["predicted"]) for m in found] == [(1, 2), (1, 0), (0, 2)]


def test_confused_pairs_are_counted_beside_the_diagonal():
    confusion = np.array([[50, 3, 0], [7, 20, 3], [0, 0, 9]])
    assert confused_pairs(confusion, 5) == [
        {"true": 1, "predicted": 0, "examples": 7, "share": 7 / 30},
        {"true": 0, "predicted": 1, "examples": 3, "share": 3 / 53},
        {"true": 1, "predicted": 2, "examples": 3, "share": 3 / 30},
    ]
    assert len(confused_pairs(confusion, 1)) == 1 and confusion[0, 0] == 50
    assert confused_pairs(np.diag([4, 2]), 5) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("zebra", "zebra"),
        ("sixteen letters!", "sixteen letters!"),
        ("seventeen letters", "seventeen lette…"),
        ("八个汉字正好放下", "八个汉字正好放下"),
        ("九个汉字放不下了吧", "九个汉字放不下…"),
    ],
)
def test_names_beside_a_matrix_are_cut_to_a_width(name, shown):
    assert classes.shortened(name) == shown


def test_a_table_of_many_classes_scrolls_and_begins_with_the_worst():
    rows = [{"class": f"c{i}", "precision": 1, "recall": 1, "f1": (i * 7 % 25) / 25, "examples": 4} for i in range(25)]
    few, many = classes._each_class(rows[:20]), classes._each_class(rows)
    assert "class=long" not in few and few.index(">c0<") < few.index(">c1<")
    assert "tabindex=0" in many and many.index(">c0<") < many.index(">c18<") < many.index(">c11<")  # 0, 1, 2 of 25


def test_a_matrix_of_names_in_chinese_is_drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = classes.matrix(np.eye(2, dtype=int), ["猫" * 40, "狗"])
    beside = re.sub("<title>.*?</title>", "", drawn)
    assert "猫" * 7 + "…" in beside and "猫" * 8 not in beside
    assert f"<title>true {'猫' * 40}, predicted {'猫' * 40}: 1</title>" in drawn


def test_curves_tell_their_values_on_hovering_and_have_names():
    history = [{"epoch": i, "loss": 1 / (i + 1), "val_loss": 2 / (i + 1)} for i in range(3)]
    drawn = report._curve(history, "Loss", "loss", 2)
    assert 'role="img" aria-label="Loss: training and validation by epoch"' in drawn
    assert "<title>training, epoch 3: 0.3333</title>" in drawn and "<title>validation, epoch 1: 2</title>" in drawn


def test_bars_tell_their_values_on_hovering():
    figure = report.figure(3, 2)
    axes = figure.subplots()
    axes.bar([0, 1], [0.25, 4], label="share")
    axes.set_xticks([0, 1], ["a < b", "c"])
    drawn = report.svg(figure, "two bars")
    assert "<title>share, a &lt; b: 0.25</title>" in drawn and "<title>share, c: 4</title>" in drawn


def test_bars_without_names_tell_their_places():
    figure = report.figure(3, 2)
    above, below = figure.subplots(2, sharex=True)
    above.plot([0, 1], [0, 1])
    below.bar([0.05, 0.15], [3, 4], 0.1)
    below.set_xlabel("confidence")
    drawn = report.svg(figure, "bars of numbers")
    assert "<title>confidence 0.05: 3</title>" in drawn and "<title>confidence 0.15: 4</title>" in drawn


def test_cells_of_a_matrix_of_many_classes_tell_their_values():
    counts = np.diag(np.full(40, 3))
    counts[3, 7] = 2
    drawn = classes.matrix(counts, [f"c{i}" for i in range(40)])
    assert "<title>true c3, predicted c7: 2</title>" in drawn and drawn.count("<title>true c") == 41


@pytest.mark.skipif(not any(map(shutil.which, browser.PROGRAMS)), reason="no Chromium or Chrome is installed")
def test_a_report_with_long_names_fits_a_narrow_window(tmp_path):
    names = ["x" * 60, "a name of sixty characters with spaces, as some data have them"]
    rows = [{"class": name, "precision": 1, "recall": 1, "f1": 1, "examples": 4} for name in names]
    counts = np.array([[3, 1], [2, 2]])
    body = f"<h1>{names[0]}</h1><div class=two>{classes._each_class(rows)}</div>{classes._pairs(counts, names)}"
    (tmp_path / "page.html").write_text(f"{WINDOW}<style>{report._STYLE}</style><main>{body}</main>")
    with browser.opened(browser.program()) as page:
        for width in (1280, 390):
            page.show((tmp_path / "page.html").as_uri(), width, 800)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            inside = (
                "[...document.querySelectorAll('td')].every((td) => td.getBoundingClientRect().right <= innerWidth)"
            )
            assert page.evaluate(inside)
