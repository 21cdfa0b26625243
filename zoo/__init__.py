"""Models that train anywhere: registry, data, training and the commands around a run folder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__version__ = "0.2.0"


def load(name: str) -> "keras.Model":
    """Return a trained model of the stock, ready to predict; imports Keras and its backend.

    Args:
        name: of `python -m zoo.list pretrained`, such as cnn-mnist. `zoo.stock.run(name)` has the rest of its run.

    Returns:
        the model: images in [0, 1], token ids or feature vectors to logits; without an optimizer.

    Raises:
        zoo.errors.UsageError: no such name, or a file that is missing or altered.
    """
    from strategies import backend
    from zoo import stock

    run = stock.run(name)
    backend.start()
    return run.load_model()
