"""The models of the zoo: Keras 3 models written with `keras.ops`, one architecture per file.

Importing this package registers all custom classes with Keras, including losses, metrics and optimizers.
`keras.saving.load_model` needs them.
"""

from zoo.models.cnn import CNN
from zoo.models.cross_modal import CrossModal
from zoo.models.ensemble import Ensemble
from zoo.models.gan import GAN
from zoo.models.kg_embedding import KGEmbedding
from zoo.models.lstm import LSTM
from zoo.models.parts.attention import MultiHeadCrossAttention, MultiHeadSelfAttention
from zoo.models.parts.discriminator import Discriminator
from zoo.models.parts.generator import Generator
from zoo.models.parts.normalization import LayerNormalization
from zoo.models.self_attention import SelfAttentionClassifier
from zoo.models.simplenet import SimpleNet
from zoo.models.transformer import Transformer, TransformerClassifier
from zoo.models.transformer_lm import TransformerLM
from zoo.objectives.losses import Adversarial, CrossEntropy, Mean
from zoo.objectives.metrics import reciprocal_rank
from zoo.objectives.optimizers import AdamW, ScaledAdagrad, ScaledAdamW, ScaledSGD
from zoo.objectives.pair_loss import PairAccuracy, PairLoss
from zoo.objectives.schedules import InverseSquareRoot

__all__ = [
    "AdamW",
    "Adversarial",
    "CNN",
    "CrossEntropy",
    "CrossModal",
    "Discriminator",
    "Ensemble",
    "GAN",
    "Generator",
    "InverseSquareRoot",
    "KGEmbedding",
    "LSTM",
    "LayerNormalization",
    "Mean",
    "MultiHeadCrossAttention",
    "MultiHeadSelfAttention",
    "PairAccuracy",
    "PairLoss",
    "ScaledAdagrad",
    "ScaledAdamW",
    "ScaledSGD",
    "SelfAttentionClassifier",
    "SimpleNet",
    "Transformer",
    "TransformerClassifier",
    "TransformerLM",
    "reciprocal_rank",
]
