"""Words counted and weighted, with a linear model: what a network on texts should be at or above.

It is `TfidfVectorizer` with `LogisticRegression` of scikit-learn, both with their default settings, on the whole texts.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

# Number of texts from which it is not computed, because it would take minutes and gigabytes.
MOST_TEXTS = 200_000


def measured(
    train: Sequence[str], train_labels: np.ndarray, test: Sequence[str], test_labels: np.ndarray
) -> dict[str, Any]:
    """Return the test accuracy of tf-idf with logistic regression, and the seconds that it took.

    Args:
        train: Training texts.
        train_labels: Their classes, (texts,).
        test: Test texts.
        test_labels: Their classes, (texts,).

    Returns:
        name, on, accuracy and seconds; nothing for texts without a word of two letters, or too many texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    if len(train) > MOST_TEXTS:
        return {}
    began = time.perf_counter()
    vectors = TfidfVectorizer()
    try:
        counted = vectors.fit_transform(train)
    except ValueError:  # no text has a word
        return {}
    fitted = LogisticRegression().fit(counted, train_labels)
    right = fitted.predict(vectors.transform(test)) == test_labels
    return {
        "name": "tf-idf with logistic regression",
        "on": "the whole texts",
        "accuracy": float(right.mean()),
        "seconds": round(time.perf_counter() - began, 2),
    }
