"""The models of the zoo: Keras 3 models written with `keras.ops`, one architecture per file.

Importing this package imports every module in it and registers all custom classes with Keras, including losses, metrics
and optimizers. `keras.saving.load_model` needs them. A model is also an attribute of this package: `zoo.models.CNN`.
"""

import importlib
import pkgutil

import keras

from zoo.models.parts.attention import MultiHeadCrossAttention, MultiHeadSelfAttention
from zoo.models.parts.drawing.discriminator import Discriminator
from zoo.models.parts.drawing.generator import Generator
from zoo.models.parts.forecaster import NetworkForecaster
from zoo.models.parts.normalization import LayerNormalization
from zoo.models.parts.wrapped import Labeller, Regressor
from zoo.objectives.detection_loss import DetectionLoss
from zoo.objectives.forecast_loss import QuantileLoss, SquaredError
from zoo.objectives.losses import Adversarial, CrossEntropy, FocalLoss, Mean, NumberLoss, OrdinalLoss
from zoo.objectives.metrics import MixedAccuracy, reciprocal_rank
from zoo.objectives.optimizers import AdamW, ScaledAdagrad, ScaledAdamW, ScaledSGD
from zoo.objectives.pair_loss import PairAccuracy, PairLoss
from zoo.objectives.ratings import ItemLoss, PairwiseLoss, RatingLoss
from zoo.objectives.schedules import InverseSquareRoot
from zoo.objectives.segmentation import PixelAccuracy, PixelLoss, PixelMeanIoU

PARTS = (
    MultiHeadCrossAttention,
    MultiHeadSelfAttention,
    Discriminator,
    Generator,
    LayerNormalization,
    Labeller,
    Regressor,
    NetworkForecaster,
)
OBJECTIVES = (
    DetectionLoss,
    *(Adversarial, CrossEntropy, FocalLoss, Mean, NumberLoss, OrdinalLoss, MixedAccuracy, PairAccuracy, PairLoss),
    reciprocal_rank,
    *(ItemLoss, PairwiseLoss, QuantileLoss, RatingLoss, SquaredError),
    *(AdamW, ScaledAdagrad, ScaledAdamW, ScaledSGD, InverseSquareRoot),
    *(PixelAccuracy, PixelLoss, PixelMeanIoU),
)


def _models() -> dict[str, type[keras.Model]]:
    """Return the models of all modules in this package, by the name of their class."""
    names = [f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    found = [value for name in names for value in vars(importlib.import_module(name)).values()]
    ours = [value for value in found if isinstance(value, type) and issubclass(value, keras.Model)]
    return {value.__name__: value for value in ours if value.__module__ in names}


globals().update(_models())
__all__ = sorted({*_models(), *(part.__name__ for part in (*PARTS, *OBJECTIVES))})
