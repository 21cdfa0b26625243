"""Gradient boosting and linear models of scikit-learn on the same rows: what a network should be at or above.

All have their default settings. They learn from the training and the validation rows, as nothing of theirs is chosen on
the validation split.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import threadpoolctl

from zoo.data.dataset import Split
from zoo.data.splits import joined
from zoo.data.tabular.encoding import MISSING
from zoo.scores import labels as of_labels
from zoo.scores import numbers as of_numbers

# Largest number of categories of a column that gradient boosting takes as such.
MOST_CATEGORIES = 255
BOOSTING, LOGISTIC = "gradient boosting (HistGradientBoosting)", "one logistic regression a label"
ROWS = "the rows of the table"
# Training rows times labels from which it is not computed, because it would take minutes; nor is it computed for rows
# that are read for each batch, because it takes all of them at once.
MOST = 5_000_000


def numbers(inputs: Sequence[Mapping[str, Any]], parts: Sequence[Split], test: Split) -> list[dict[str, Any]]:
    """Return the test scores of gradient boosting for each target.

    Args:
        inputs: What the inputs of a row are, see `zoo.data.tabular.encoding`.
        parts: Rows to learn from, with y (rows, targets).
        test: Rows to measure on.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    def fitted(train: Split) -> dict[str, float]:
        x, given = _features(inputs, train.x), _features(inputs, test.x)
        columns = [
            HistGradientBoostingRegressor(categorical_features=_categories(inputs), random_state=0)
            .fit(x, train.y[:, i])
            .predict(given)
            for i in range(train.y.shape[1])
        ]
        return of_numbers.scores(np.stack(columns, axis=1), test.y)

    return _measured(BOOSTING, parts, test.y.shape[1], fitted)


def classes(inputs: Sequence[Mapping[str, Any]], parts: Sequence[Split], test: Split) -> list[dict[str, Any]]:
    """Return the test accuracy of gradient boosting; arguments as of `numbers`, with y (rows,)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def fitted(train: Split) -> dict[str, float]:
        model = HistGradientBoostingClassifier(categorical_features=_categories(inputs), random_state=0)
        model.fit(_features(inputs, train.x), train.y)
        return {"accuracy": float((model.predict(_features(inputs, test.x)) == test.y).mean())}

    count = len(np.unique(np.concatenate([part.y for part in parts])))
    return _measured(BOOSTING, parts, count, fitted)


def labels(inputs: Sequence[Mapping[str, Any]], parts: Sequence[Split], test: Split) -> list[dict[str, Any]]:
    """Return the test scores of a logistic regression and of gradient boosting for each label.

    Arguments are those of `numbers`, with y (rows, labels). Logistic regression gets standardised numbers, means for
    missing ones, and a column of 0 and 1 for each category.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def scored(make: Callable[[], Any], train: Split, x: np.ndarray, given: np.ndarray) -> dict[str, float]:
        p = np.zeros(test.y.shape)
        for i in range(test.y.shape[1]):
            y = train.y[:, i] > 0
            p[:, i] = float(y[0]) if y.all() or not y.any() else make().fit(x, y).predict_proba(given)[:, 1]
        found = of_labels.scores(p > 0.5, test.y)
        return found | {"mean_ap": of_labels.mean_average_precision(p, test.y)}

    def linear(train: Split) -> dict[str, float]:
        x, given = (_one_hot(inputs, _features(inputs, split.x)) for split in (train, test))
        make = lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))  # noqa: E731
        return scored(make, train, x, given)

    def boosted(train: Split) -> dict[str, float]:
        x, given = (_features(inputs, split.x) for split in (train, test))
        options = {"categorical_features": _categories(inputs), "random_state": 0}
        return scored(lambda: HistGradientBoostingClassifier(**options), train, x, given)

    count = test.y.shape[1]
    return _measured(LOGISTIC, parts, count, linear) + _measured(BOOSTING, parts, count, boosted)


def _measured(
    name: str, parts: Sequence[Split], outputs: int, fitted: Callable[[Split], dict[str, float]]
) -> list[dict[str, Any]]:
    if sum(map(len, parts)) * outputs > MOST or not all(part.in_memory for part in parts):
        return []
    train = joined(parts)
    began = time.perf_counter()
    with threadpoolctl.threadpool_limits(1):  # on a busy machine, threads wait for each other longer than they compute
        found = fitted(train)
    return [{"name": name, "on": ROWS, **found, "seconds": round(time.perf_counter() - began, 2)}]


def _features(inputs: Sequence[Mapping[str, Any]], x: np.ndarray) -> np.ndarray:
    """Return rows with NaN for missing numbers."""
    found = x.astype(np.float64)
    found[x == MISSING] = np.nan
    return found


def _categories(inputs: Sequence[Mapping[str, Any]]) -> list[int]:
    return [i for i, each in enumerate(inputs) if each["form"] == "category" and len(each["values"]) < MOST_CATEGORIES]


def _one_hot(inputs: Sequence[Mapping[str, Any]], x: np.ndarray) -> np.ndarray:
    """Return rows with a column of 0 and 1 for each category instead of its number."""
    parts = [
        x[:, i, None] == np.arange(1, len(each["values"]) + 1) if each["form"] == "category" else x[:, i, None]
        for i, each in enumerate(inputs)
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)
