"""Default settings of training: a function for each model, or pair of model and data set, that was measured.

Each docstring states the result, as measured by `python -m benchmarks accuracy` (see benchmarks/results). Default
settings fill in only the options that are not given. `python -m zoo.list recipes` lists them.
"""

from collections.abc import Callable
from typing import Any

Settings = dict[str, Any]
# Stands for any set of texts with a class each.
TEXTS = "texts"

_COMMON: Settings = {
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 1e-4,
    "clip_norm": 1.0,
    "label_smoothing": 0.0,
}


def default() -> Settings:
    """Any model on any data; no result is claimed."""
    return _COMMON | {"epochs": 10, "batch_size": 64, "learning_rate": 1e-3}


def cnn_digits() -> Settings:
    """98.6 % of the 360 test digits in 20 epochs (three seeds: 98.1, 98.9, 98.9)."""
    return _COMMON | {
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "label_smoothing": 0.1,
        "settings": {"dropout": 0.5},
    }


def cnn_mnist() -> Settings:
    """99.3 % of the 10,000 test images in 5 epochs (three seeds: 99.34, 99.34, 99.25)."""
    return _COMMON | {"epochs": 5, "batch_size": 128, "learning_rate": 5e-3, "settings": {"dropout": 0.3}}


def simplenet_mnist() -> Settings:
    """98.1 % of the 10,000 test images in 10 epochs (three seeds: 98.11, 98.15, 98.04)."""
    return _COMMON | {"epochs": 10, "batch_size": 64, "learning_rate": 2e-3, "settings": {"dropout": 0.1}}


def lstm_mnist() -> Settings:
    """99.1 % of the 10,000 test images, read row by row, in 5 epochs (three seeds: 99.14, 99.05, 99.05)."""
    return _COMMON | {"epochs": 5, "batch_size": 128, "learning_rate": 3e-3}


def lstm_sst2() -> Settings:
    """80.7 % of the 1,821 test sentences in 4 epochs (three seeds: 80.78, 80.45, 80.78)."""
    return _COMMON | {
        "epochs": 4,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "label_smoothing": 0.1,
        "settings": {"units": (64,), "embedding_dim": 128, "dropout": 0.7},
    }


def lstm_texts() -> Settings:
    """Any texts with a class each; 82 % of 2,500 reviews of 250 words, where the last step alone gave 66 %."""
    return _COMMON | {
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "label_smoothing": 0.1,
        "settings": {
            "units": (64,),
            "embedding_dim": 128,
            "dropout": 0.5,
            "word_dropout": 0.5,
            "pooling": "mean",
        },
    }


def self_attention_mnist() -> Settings:
    """98.4 % of the 10,000 test images, read row by row, in 4 epochs (three seeds: 98.48, 98.50, 98.34)."""
    return _COMMON | {"epochs": 4, "batch_size": 128, "learning_rate": 3e-3, "settings": {"dropout": 0.0}}


def transformer_sst2() -> Settings:
    """81.0 % of the 1,821 test sentences in 6 epochs (three seeds: 81.22, 81.27, 80.51)."""
    return _COMMON | {
        "epochs": 6,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "label_smoothing": 0.1,
        "settings": {"num_layers": 1, "dropout": 0.2, "word_dropout": 0.5},
    }


def transformer_texts() -> Settings:
    """Any texts with a class each, as for SST-2's sentences; 80 % of 2,500 reviews of 250 words (one seed)."""
    return transformer_sst2() | {"epochs": 4, "batch_size": 32}


def seq2seq_addition() -> Settings:
    """99.9 % of 2,500 unseen sums of two numbers of three digits exactly right in 6 epochs (one seed)."""
    return _COMMON | {
        "epochs": 6,
        "batch_size": 128,
        "learning_rate": 3e-3,
        "settings": {"num_layers": 1, "model_dim": 64, "ff_dim": 128, "dropout": 0.0},
    }


def seq2seq_multi30k() -> Settings:
    """37.5 BLEU of German to English (test_2016_flickr, beam 4) in 12 epochs, in bfloat16 (one seed)."""
    return _COMMON | {
        "epochs": 12,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "label_smoothing": 0.1,
        "vocabulary_size": 4_000,
        "settings": {"num_layers": 2, "model_dim": 256, "ff_dim": 512, "dropout": 0.15},
    }


def lm_shakespeare() -> Settings:
    """1.46 nats a character of the validation text, 1.59 of the test text, in 5 epochs, in bfloat16 (one seed)."""
    return _COMMON | {
        "epochs": 5,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "settings": {"num_layers": 4, "model_dim": 192, "ff_dim": 768, "dropout": 0.0},
    }


def cross_modal_mnist() -> Settings:
    """99.5 % of the 10,000 test images nearest to the captions of their class, in 4 epochs (one seed: 99.46)."""
    return _COMMON | {"epochs": 4, "batch_size": 128, "learning_rate": 3e-3, "settings": {"dropout": 0.2}}


def autoencoder() -> Settings:
    """Any normal examples; no result is claimed."""
    return _COMMON | {"epochs": 40, "batch_size": 64, "learning_rate": 2e-3}


def conv1d() -> Settings:
    """Any windows of sensors; no result is claimed."""
    return _COMMON | {"epochs": 20, "batch_size": 32, "learning_rate": 3e-3, "label_smoothing": 0.1}


# Values of Lacroix et al. (2018).
_TRIPLES: Settings = {
    "optimizer": "adagrad",
    "learning_rate": 0.1,
    "schedule": "cosine",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "label_smoothing": 0.0,
}


def kg_embedding() -> Settings:
    """Any triples; no MRR is claimed."""
    return _TRIPLES | {"epochs": 20, "batch_size": 256, "settings": {"strength": 0.1}}


def kg_embedding_wn18rr() -> Settings:
    """0.464 filtered MRR of the test in 12 epochs, all questions, in 51 minutes on two cores (one seed)."""
    return _TRIPLES | {"epochs": 12, "batch_size": 256, "settings": {"dim": 256, "strength": 0.1}}


def kg_embedding_family() -> Settings:
    """0.955 filtered MRR of the 22 test questions in 40 epochs (four seeds: all 0.9545)."""
    return _TRIPLES | {"epochs": 40, "batch_size": 16, "settings": {"dim": 128, "strength": 0.1}}


def dlinear() -> Settings:
    """Any series; 0.373 MSE and 0.394 MAE of ETTh1, 96 steps from 336, in 8 epochs (two seeds: 0.372, 0.374)."""
    return _COMMON | {"epochs": 8, "batch_size": 32, "learning_rate": 5e-3}


def patch_transformer() -> Settings:
    """Any series; no MSE is claimed."""
    return _COMMON | {"epochs": 10, "batch_size": 64, "learning_rate": 1e-3}


def two_tower() -> Settings:
    """Any events; no NDCG is claimed. 91 % of the best possible recall@10 of generated events (one seed)."""
    return _COMMON | {"epochs": 20, "batch_size": 256, "learning_rate": 1e-2}


_GAN: Settings = _COMMON | {
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "beta_1": 0.5,
    "warmup": 0.0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "settings": {"r1": 0.05, "discriminator_rate": 2.0},
}


def gan() -> Settings:
    """Any images, with the values for MNIST, where 97.7 % of the samples were recognised; no result is claimed."""
    return _GAN


def gan_mnist() -> Settings:
    """97.7 % of 10,000 samples recognised, 89.6 % coverage in 10 epochs, drawn by class (one seed)."""
    return _GAN | {"settings": _GAN["settings"] | {"conditional": True}}


def gan_dense_mnist() -> Settings:
    """96.0 % of 10,000 samples recognised, 88.3 % coverage in 10 epochs, drawn by class (one seed)."""
    return gan_mnist()


_MASKS: Settings = _COMMON | {"epochs": 30, "batch_size": 8, "learning_rate": 2e-3, "fit": "pad"}


def masks() -> Settings:
    """Any pictures with masks, whose whole is kept; no result is claimed."""
    return _MASKS


def tabular() -> Settings:
    """Any table; on California housing an RMSE of 48,100 and 47,600 (two seeds), gradient boosting has 47,100."""
    return _COMMON | {"epochs": 40, "batch_size": 128, "learning_rate": 1e-3, "weight_decay": 1e-2}


_TRANSFER: Settings = _COMMON | {
    "epochs": 4,
    "batch_size": 32,
    "learning_rate": 3e-4,
    "label_smoothing": 0.1,
    "probe": True,
    "freeze": ("norm",),
}


def transfer() -> Settings:
    """Any data with weights from elsewhere: the output layer alone, then all but the normalisations; no result."""
    return _TRANSFER


def transfer_efficientnet_lite() -> Settings:
    """90.0 % of 250 test photographs of flowers in five classes (one seed; 89.2 % before the network is thawed)."""
    return _TRANSFER | {"image_size": 224}


_DETECTOR: Settings = _COMMON | {
    "epochs": 60,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "warmup": 0.05,
    "clip_norm": 10.0,
    "image_size": 256,
    "fit": "stretch",
    "augment": "flip(both) + crop(0.2) + zoom(0.3) + colour(0.2)",
}


def detector() -> Settings:
    """Any annotated pictures; no result is claimed."""
    return _DETECTOR


def transfer_ssd() -> Settings:
    """Annotated pictures, with trained weights of mobilenet_v2 in the encoder; no result is claimed."""
    return _DETECTOR | {"epochs": 40, "freeze": ("encoder/stem", "encoder/block_[123]", "encoder/*norm")}


def transfer_detector() -> Settings:
    """Annotated pictures and an encoder with trained weights, whose first blocks and statistics stay as they are."""
    return _DETECTOR | {
        "epochs": 40,
        "freeze": ("encoder/stem", "encoder/block_[123]", "encoder/*norm"),
        "settings": {"blocks": 8},
    }


def transfer_masks() -> Settings:
    """Any pictures with masks and weights from elsewhere; no mIoU is claimed."""
    return _MASKS | {"learning_rate": 1e-3}


# Settings of models that begin with trained weights from elsewhere (--pretrained).
TRANSFERS: dict[str, Callable[[], Settings]] = {
    "autoencoder": autoencoder,
    "autoencoder_conv": autoencoder,
    "efficientnet_lite": transfer_efficientnet_lite,
    "detector": transfer_detector,
    "ssd": transfer_ssd,
    "lraspp": transfer_masks,
}

DEFAULTS: dict[tuple[str, str], Callable[[], Settings]] = {
    ("cnn", "digits"): cnn_digits,
    ("cnn", "mnist"): cnn_mnist,
    ("simplenet", "mnist"): simplenet_mnist,
    ("lstm", "mnist"): lstm_mnist,
    ("lstm", "sst2_sentences"): lstm_sst2,
    ("lstm", TEXTS): lstm_texts,
    ("self_attention", "mnist"): self_attention_mnist,
    ("transformer", "sst2_sentences"): transformer_sst2,
    ("transformer", TEXTS): transformer_texts,
    ("tabular", ""): tabular,
    ("transformer_lm", "tiny_shakespeare"): lm_shakespeare,
    ("transformer_seq2seq", "addition"): seq2seq_addition,
    ("transformer_seq2seq", "multi30k"): seq2seq_multi30k,
    ("cross_modal", "mnist"): cross_modal_mnist,
    ("autoencoder", ""): autoencoder,
    ("autoencoder_conv", ""): autoencoder,
    ("conv1d", ""): conv1d,
    ("tcn", ""): conv1d,
    ("kg_embedding", ""): kg_embedding,
    ("kg_embedding", "family"): kg_embedding_family,
    ("kg_embedding", "wordnet/WN18RR"): kg_embedding_wn18rr,
    ("detector", ""): detector,
    ("ssd", ""): detector,
    ("unet", ""): masks,
    ("lraspp", ""): masks,
    ("dlinear", ""): dlinear,
    ("patch_transformer", ""): patch_transformer,
    ("two_tower", ""): two_tower,
    ("matrix_factorization", ""): two_tower,
    ("gan", ""): gan,
    ("gan_dense", ""): gan,
    ("gan", "mnist"): gan_mnist,
    ("gan_dense", "mnist"): gan_dense_mnist,
}


def defaults_for(
    model: str, dataset: str | None, *, texts: bool = False, transfers: bool = False
) -> Callable[[], Settings]:
    """Return the settings measured for this model and data set, else for the model, else those for any model.

    Args:
        model: Name of the model.
        dataset: Name of the data set, None for own data.
        texts: Whether the data are texts.
        transfers: Whether the model begins with trained weights from elsewhere.
    """
    if transfers:
        return TRANSFERS.get(model, transfer)
    usual = DEFAULTS.get((model, TEXTS if texts else ""), DEFAULTS.get((model, ""), default))
    return DEFAULTS.get((model, dataset or ""), usual)


def named() -> dict[str, Callable[[], Settings]]:
    """Return all default settings by the model and data set that they are for."""
    own = {f"{model} on {dataset}" if dataset else model: settings for (model, dataset), settings in DEFAULTS.items()}
    begun = {f"{model} with --pretrained": settings for model, settings in TRANSFERS.items()}
    return own | begun | {"any other with --pretrained": transfer, "any other": default}


def summary(settings: Callable[[], Settings]) -> str:
    """Return the result and the values of default settings in one line."""
    values = ", ".join(f"{name} {value}" for name, value in settings().items())
    return f"{' '.join(settings.__doc__.split())} ({values})"
