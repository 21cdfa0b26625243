"""What tasks share whose batches are examples and their targets as the data have them."""

from typing import Any

from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.data.augmentation import augmenter
from zoo.data.batches import pipeline as batches
from zoo.runs.inference import BATCH
from zoo.tasks.base import Task


class PlainTask(Task):
    """A task that changes no batch but by augmentation, and compares epochs by the loss on the validation split."""

    def augmented(self, config: TrainConfig, data: Dataset) -> Any:
        """Return what changes a batch at random, as `zoo.data.augmentation.augmenter.of` does; None for nothing.

        Args:
            config: Has the recipe of the augmentation and the seed.
            data: Training data.
        """
        return augmenter.of(config, 0)

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        return batches.training_batches(data.train, part=config.part, **options, augment=self.augmented(config, data))

    def reads_parts(self, config: TrainConfig) -> bool:
        return True

    def gathered(self, config: TrainConfig, data: Dataset, batch_size: int) -> batches.Gathered | None:
        if config.augmentation:
            return None
        return batches.gathered(data.train, batch_size=batch_size, seed=config.seed)

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return batches.evaluation_batches(data.validation, batch_size=BATCH, stride=stride)

    def validation_parts(self, data: Dataset, replicas: range, count: int) -> Any:
        return batches.evaluation_parts(data.validation, replicas, count, batch_size=BATCH)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row.get("val_loss", row["loss"]),)
