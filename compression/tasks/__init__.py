"""How the model of each task becomes a file and how the file is scored, one module a task.

This module is the registry of the tasks, a row each. It imports the standard library only, so that commands can refuse
what a task cannot have before they import TensorFlow; `of` imports a task's module on demand. A new task is a subclass
of `compression.tasks.base.Form` in a module of its own, and a row here.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from compression.recipes.limits import Limits
from zoo.console.errors import unknown


@dataclass(frozen=True)
class Entry:
    """A row of the registry.

    Args:
        form: Place of the task's `Form`, "module:Class".
        limits: What its files can have.
    """

    form: str
    limits: Limits


_ONE_TEXT = "a file that generates text handles one at a time"
_DECODER_LAYERS = "the layers of a decoder's step have no names of their own in the file"
_TOKEN_WORDS = {
    "int16x8": "the converter cannot calibrate it for whole-number inputs (token ids); use int8 or dynamic",
    "channels": "units are followed through one pass over whole texts, and a decoder's step has others; use prune",
    "distill": "a teacher's probabilities would be learnt at padding as well; train the smaller run by itself",
    "qat + int8": "it trains ranges over whole texts, and the file computes a step at a time; use qat with dynamic or"
    " int4",
}

TASKS = {
    "anomaly": Entry(
        "compression.tasks.anomaly:Anomaly",
        Limits(
            run="a run that detects anomalies",
            does="reconstructs its inputs",
            by_output=True,
            numbers=True,
        ),
    ),
    "classification": Entry(
        "compression.tasks.classification:Classification",
        Limits(run="a run that gives classes", does="gives classes", by_output=True),
    ),
    "multilabel": Entry(
        "compression.tasks.multilabel:Multilabel",
        Limits(
            run="a run that gives several labels",
            does="gives several labels",
            by_output=True,
            numbers=True,
        ),
    ),
    "ordinal": Entry(
        "compression.tasks.ordinal:Ordinal",
        Limits(run="a run that gives ordered classes", does="gives ordered classes", by_output=True),
    ),
    "regression": Entry(
        "compression.tasks.regression:Regression",
        Limits(
            run="a run that gives numbers",
            does="gives numbers",
            by_output=True,
            numbers=True,
        ),
    ),
    "contrastive": Entry(
        "compression.tasks.contrastive:Contrastive",
        Limits(
            run="a run on images and captions",
            does="matches images and captions",
            batch="a file of two towers takes one image or one caption at a time",
            skip="the converter leaves layers out of files with one function only, and this one has two",
            words={
                "int16x8": "the converter cannot calibrate it for whole-number inputs (token ids), which the text tower"
                " has; use int8 or dynamic",
                "channels": "units are found by following one input, and this model has two; use prune",
                "distill": "it learns probabilities of classes, and this model gives vectors; train the smaller run by"
                " itself",
                "qat + int8": "it trains the ranges of one input, and this model has two; use qat with dynamic or int4",
            },
        ),
    ),
    "detection": Entry(
        "compression.tasks.detection:Detection",
        Limits(
            run="a run that gives objects",
            does="gives objects",
            by_output=True,
            nms=True,
            numbers=True,
        ),
    ),
    "forecasting": Entry(
        "compression.tasks.forecasting:Forecasting",
        Limits(
            run="a run that forecasts",
            does="forecasts series",
            by_output=True,
            words={
                "int16x8": "the converter cannot leave the layers in float32 that columns of different units need; use"
                " int8, float16 or dynamic",
            },
            numbers=True,
        ),
    ),
    "generation": Entry(
        "compression.tasks.generation:Generation",
        Limits(
            run="a run that draws images",
            does="draws images",
            words={
                "channels": "the channels of transposed convolutions cannot be removed; use prune, or train with"
                " smaller --set filters",
                "distill": "every recipe that trains learns from the run's own generator already; leave distill out",
            },
        ),
    ),
    "language_model": Entry(
        "compression.tasks.language_model:LanguageModel",
        Limits(
            run="a run that generates text",
            does="continues texts",
            batch=_ONE_TEXT,
            skip=_DECODER_LAYERS,
            words=_TOKEN_WORDS,
        ),
    ),
    "link_prediction": Entry(
        "compression.tasks.link_prediction:LinkPrediction",
        Limits(
            run="a run on triples",
            does="completes triples",
            batch="a file of a run on triples answers one question at a time",
            skip="the table of entities is nearly all of the model, and one layer",
            words={
                "int8": "256 steps for the scores of all entities make most of them tie; use dynamic or int4",
                "int16x8": "it cannot be calibrated for whole-number inputs; use dynamic or int4",
                "channels": "it would remove a component of every embedding; train a run with a smaller dim",
                "distill": "its losses are for classes; train the smaller run by itself",
            },
        ),
    ),
    "own_model": Entry(
        "compression.tasks.own_model:OwnForm",
        Limits(
            run="a model of one's own",
            does="computes what its predict computes",
            by_output=True,
        ),
    ),
    "recommendation": Entry(
        "compression.tasks.recommendation:Recommendation",
        Limits(
            run="a run that recommends items",
            does="recommends items",
            batch="a file of a run that recommends takes one user at a time",
            skip="the tables of users and items are nearly all of the model",
            words={
                "int8": "256 steps for the scores of all items make many of them tie; use dynamic or int4",
                "int16x8": "it cannot be calibrated for whole-number inputs; use dynamic or int4",
                "channels": "it would remove a component of every vector; train a run with a smaller dim",
                "distill": "its losses are for classes; train the smaller run by itself",
            },
        ),
    ),
    "segmentation": Entry(
        "compression.tasks.segmentation:Segmentation",
        Limits(run="a run that gives masks", does="gives masks", by_output=True, argmax=True),
    ),
    "translation": Entry(
        "compression.tasks.translation:Translation",
        Limits(
            run="a run that generates text",
            does="translates texts",
            beam_search=True,
            batch=_ONE_TEXT,
            skip=_DECODER_LAYERS,
            words=_TOKEN_WORDS,
        ),
    ),
}


def entry(task: str) -> Entry:
    """Return the row of a task.

    Raises:
        UsageError: No task has this name.
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    return TASKS[task]


def of(task: str) -> type[Any]:
    """Return the `compression.tasks.base.Form` of a task; imports Keras and its backend.

    Raises:
        UsageError: No task has this name.
    """
    module, _, name = entry(task).form.partition(":")
    return getattr(importlib.import_module(module), name)
