"""Compare the options of a command with those of the run that it continues."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.config import augmentation, registry
from zoo.config.records import is_address
from zoo.config.train_config import CHANGEABLE, PLACES, TrainConfig, flag


def differences(stored: TrainConfig, given: Mapping[str, Any]) -> list[str]:
    """Return one text for each given option that contradicts the stored configuration."""
    texts = []
    for name, value in given.items():
        if name in CHANGEABLE:
            continue
        have = getattr(stored, name)
        if name == "settings":  # only those given; the run's others come from its preset and default settings
            typed = registry.parse_settings(stored.model, value)
            value = {key: typed[key] for key in value}
            have = {key: have.get(key, registry.arguments(stored.model)[key].default) for key in value}
        if name == "augment":
            value = augmentation.spelled_out(value)
        if name in PLACES:
            value, have = (path and Path(path) for path in (value, have))
            value, have = (path if path is None or is_address(path) else path.resolve() for path in (value, have))
        if value != have:
            texts.append(f"{flag(name)} was {json.dumps(have, default=str)}, now {json.dumps(value, default=str)}")
    return texts
