"""What a GAN draws as it learns: a picture an epoch, and how near its samples come to real images."""

import csv
import importlib.util
import sys
from typing import Any

import keras
import numpy as np

from strategies import collective
from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.reports import mosaic
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.scores.judges import Judge
from zoo.scores.sample_quality import diversity, frechet_distance
from zoo.tasks import generation

LOOKED_AT = 2_000  # validation images, and as many samples
GRID_SEED, SAMPLE_SEED = 1, 2


class Sampler(keras.callbacks.Callback):
    """Draw a grid of the same codes as each epoch ends, and add to its logs how far samples are from validation images.

    Args:
        config: of the run.
        run: gets samples/epoch-001.png and so on, and the pictures of TensorBoard.
        data: whose validation images are compared with; without any, pictures alone are made.
        judge: what they are compared in.
    """

    def __init__(self, config: TrainConfig, run: RunFolder, data: Dataset, judge: Judge):
        super().__init__()
        self.config, self.run, self.judge = config, run, judge
        split = data.validation.take(np.arange(min(LOOKED_AT, len(data.validation))))
        self.labels = split.y
        self.real = judge.look(split.x)[0] if len(split) else None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        checkpoints.synchronise(self.model)
        model = self.model
        count = generation.SHOWN if generation.grid_labels(model, 1) is None else 8 * model.num_classes
        codes = generation.codes(model, count, GRID_SEED, generation.grid_labels(model, count))
        picture = mosaic.mosaic(generation.draw(model, codes), generation.columns(model, count))
        mosaic.save(picture, self.run.samples / f"epoch-{epoch + 1:03}.png")
        self._to_tensorboard(epoch, picture)
        if self.real is not None:
            logs |= self._numbers()
            self._watch({"epoch": epoch, **logs})

    @property
    def _strategy(self) -> Any:
        """The model's on TensorFlow; on JAX there is one process."""
        return getattr(self.model, "distribute_strategy", None)

    def _numbers(self) -> dict[str, float]:
        """Return how far samples are from real images, of several workers the chief's."""
        model = self.model
        labels = self.labels if generation.grid_labels(model, 1) is not None else None
        made = generation.draw(model, generation.codes(model, len(self.real), SAMPLE_SEED, labels))
        features, answers = self.judge.look(made)
        found = {
            "val_frechet_distance": frechet_distance(self.real, features),
            "val_diversity": diversity(self.real, features),
        }
        if answers is not None:
            found["val_recognised"] = float((answers.max(-1) >= generation.SURE).mean())
        if (strategy := self._strategy) is None:
            return found
        values = collective.gather(strategy, np.array(list(found.values()), np.float64))[0]
        return dict(zip(found, values.tolist(), strict=True))

    def _watch(self, row: dict[str, Any]) -> None:
        """Say when a generator collapses, or training diverges, at the first epoch of it."""
        if self._strategy is not None and collective.worker(self._strategy):
            return  # it is the chief's to say
        history = [*self._before(row["epoch"]), row]
        now, then = generation.remarks(history), generation.remarks(history[:-1])
        best = 1 + int(min(history, key=lambda r: r["val_frechet_distance"])["epoch"])
        kept = f"the generator of epoch {best} is the best so far" + (", and kept" * (self.config.keep == "best"))
        what = {
            "collapsed": "the generator has collapsed, or not begun to learn: its images are"
            f" {row['val_diversity']:.2f} times as far from each other as real ones",
            "diverged": f"training has diverged: the Frechet distance is {row['val_frechet_distance']:.4g}",
        }
        for name, sentence in what.items():
            if now[name] and now[name][-1] == row["epoch"] + 1 and row["epoch"] not in then[name]:
                print(
                    f"epoch {row['epoch'] + 1}: {sentence}, for {generation.IN_A_ROW} epochs; {kept}; try --set r1=1, a"
                    " lower --learning-rate or --set discriminator_rate",
                    file=sys.stderr,
                )

    def _before(self, epoch: int) -> list[dict[str, Any]]:
        """Return the rows of earlier epochs, also those of a run that goes on."""
        if not self.run.history_file.is_file():
            return []
        with self.run.history_file.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [row for row in rows if row["epoch"] < epoch]

    def _to_tensorboard(self, epoch: int, picture: np.ndarray) -> None:
        if importlib.util.find_spec("tensorflow") is None:
            return
        import tensorflow as tf

        writer = tf.summary.create_file_writer(str(self.run.tensorboard / "samples"))
        with writer.as_default():
            tf.summary.image("samples", picture[None], step=epoch)
        writer.close()
