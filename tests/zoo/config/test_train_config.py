"""Values given in Python are taken as the command line takes them, or refused before anything is trained."""

import numpy as np
import pytest

from zoo.config.options import typed
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError

REFUSED = [
    ({"schedule": "linear"}, "--schedule: expected one of cosine, constant, inverse_sqrt, received 'linear'"),
    ({"sampling": "Balanced"}, "--sampling: .*received 'Balanced'; did you mean 'balanced'"),
    ({"precision": "float16"}, "--precision: .*did you mean 'bfloat16'"),
    ({"keep": "lst"}, "--keep: .*did you mean 'last'"),
    ({"optimizer": ["adamw"]}, r"--optimizer: expected one of adamw, sgd, adagrad, received \['adamw'\]"),
    ({"task": "clasification"}, "--task: expected one of classification, .*; did you mean 'classification'"),
    ({"task": "imitation"}, "--task: expected one of classification, "),
    ({"strategy": "miror"}, "unknown strategy 'miror': .*did you mean 'mirrored'"),
    ({"strategy": "multi_worker", "virtual_devices": 2}, "--virtual-devices 2: expected 0 with multi_worker"),
    ({"resume": "no"}, "--resume: expected true or false, received 'no'"),
    ({"deterministic": 1}, "--deterministic: expected true or false, received 1"),
    ({"epochs": True}, "--epochs: expected an integer, received True"),
    ({"epochs": "1"}, "--epochs: expected an integer, received '1'"),
    ({"batch_size": 8.5}, "--batch-size: expected an integer, received 8.5"),
    ({"seed": None}, "--seed: expected an integer, received None"),
    ({"learning_rate": "1e-3"}, "--learning-rate: expected a number, received '1e-3'"),
    ({"learning_rate": np.nan}, "--learning-rate: expected a number that is finite"),
    ({"augment": ["flip"]}, r"--augment: expected text, received \['flip'\]"),
    ({"track": "mlflo"}, "--track: expected a list of values, each one of mlflow, wandb, received 'mlflo'"),
    ({"columns": ["a", 2]}, r"--columns: expected a list of values, each text, received \['a', 2\]"),
    ({"settings": {"units": 4.5}}, "--set units: expected a list of values, each an integer, received 4.5"),
    ({"settings": ["units"]}, "--set: expected values by name"),
    ({"data": 3}, "--data: expected a path, received 3"),
    ({"memory": "much"}, "--memory: expected a number of bytes such as"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=str)
def test_a_value_of_another_type_is_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        TrainConfig(**{"model": "simplenet", **options}).resolved()


@pytest.mark.parametrize(("options", "taken"), [
    ({"freeze": "dense"}, {"freeze": ("dense",)}),
    ({"track": "mlflow"}, {"track": ("mlflow",)}),
    ({"columns": ["a", "b"]}, {"columns": ("a", "b")}),
    ({"quantiles": np.array([0.1, 0.5])}, {"quantiles": (0.1, 0.5)}),
    ({"settings": {"units": 4}}, {"settings": {"units": (4,)}}),
    ({"settings": {"units": [np.int64(4), 5], "dropout": 0}}, {"settings": {"units": (4, 5), "dropout": 0}}),
    ({"epochs": np.int64(3), "deterministic": np.True_}, {"epochs": 3, "deterministic": True}),
    ({"memory": "4g"}, {"memory": 4_000_000_000}),
])  # fmt: skip
def test_other_forms_of_a_value_are_taken(options, taken):
    config = TrainConfig(**{"model": "simplenet", **options})
    found = {name: getattr(config, name) for name in taken}
    assert found == taken and repr(found) == repr(taken)


def test_options_of_functions_are_typed():
    assert typed({"labels": "cat", "draw": "out.png"}, PredictOptions, "predict")["labels"] == ("cat",)
    with pytest.raises(UsageError, match="predict: top: expected an integer, received '2'"):
        typed({"top": "2"}, PredictOptions, "predict")


UNUSED = [
    ({"beta_1": 0.5, "optimizer": "sgd"}, "--beta-1 0.5: expected with --optimizer adamw, received sgd"),
    ({"beta_1": 0.5, "model": "kg_embedding"}, "--beta-1 0.5: expected with --optimizer adamw, received adagrad"),
    ({"model_devices": 4, "strategy": "mirrored"}, "--model-devices 4: expected --strategy model_parallel, received"),
    ({"worker_timeout": 3}, "--worker-timeout 3: expected --strategy multi_worker, received none"),
    ({"shard": "files"}, "--shard files: expected --strategy multi_worker, received none"),
    ({"precision": "bfloat16", "model": "two_tower"}, "--precision bfloat16: expected float32 for recommendation"),
    *(
        ({"label_smoothing": 0.2, "model": model, **options}, f"--label-smoothing 0.2: expected 0 for {task}: ")
        for model, task, options in [
            ("simplenet", "regression", {"task": "regression"}),
            ("tabular", "regression", {}),
            ("dlinear", "forecasting", {}),
            ("conv1d", "forecasting", {"horizon": 3}),
            ("matrix_factorization", "recommendation", {}),
            ("autoencoder", "anomaly", {}),
            ("detector", "detection", {}),
        ]
    ),
]


@pytest.mark.parametrize(("options", "sentence"), UNUSED, ids=str)
def test_an_option_that_changes_nothing_is_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        TrainConfig(**options).resolved()
    assert TrainConfig(**options)  # a run of earlier versions can be opened


def test_default_settings_without_effect_are_left_out():
    forecast = TrainConfig(model="conv1d", horizon=3)
    assert forecast.resolved().label_smoothing == 0 and forecast.resolved().resolved()
    assert TrainConfig(model="conv1d").resolved().label_smoothing == 0.1
    assert TrainConfig(model="conv1d", horizon=3, resume=True).resolved().label_smoothing == 0.1
    assert TrainConfig(model="gan", optimizer="sgd").resolved().resolved().beta_1 == 0.5
