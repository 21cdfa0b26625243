"""Callback of a GAN that draws a picture at the end of each epoch, and scores samples against real images."""

import csv
import importlib.util
import sys
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.reports import mosaic
from zoo.runs import checkpoints, workers
from zoo.runs.folder import RunFolder
from zoo.scores.judges import Judge
from zoo.scores.sample_quality import diversity, frechet_distance
from zoo.tasks.parts import drawing

COMPARED = 2_000  # validation images, and as many samples
GRID_SEED, SAMPLE_SEED = 1, 2


class Sampler(keras.callbacks.Callback):
    """Draw a grid of the same codes at the end of each epoch, and add the scores of samples to its logs.

    Args:
        config: Configuration of the run.
        run: Run folder for samples/epoch-001.png and so on, and the pictures of TensorBoard.
        data: Data with the validation images that samples are compared with. Without any, only pictures are drawn.
        judge: Features in which images are compared.
    """

    def __init__(self, config: TrainConfig, run: RunFolder, data: Dataset, judge: Judge):
        super().__init__()
        self.config, self.run, self.judge = config, run, judge
        split = data.validation.take(np.arange(min(COMPARED, len(data.validation))))
        self.labels = split.y
        self.real = judge.look(split.x)[0] if len(split) else None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        checkpoints.synchronise(self.model)
        model = self.model
        count = drawing.SHOWN if drawing.grid_labels(model, 1) is None else 8 * model.num_classes
        codes = drawing.codes(model, count, GRID_SEED, drawing.grid_labels(model, count))
        picture = mosaic.mosaic(drawing.draw(model, codes), drawing.columns(model, count))
        mosaic.save(picture, self.run.samples / f"epoch-{epoch + 1:03}.png")
        self._to_tensorboard(epoch, picture)
        if self.real is not None:
            logs |= self._numbers()
            self._watch({"epoch": epoch, **logs})

    def _numbers(self) -> dict[str, float]:
        """Return the scores of samples, those of the chief on every worker."""
        model = self.model
        labels = self.labels if drawing.grid_labels(model, 1) is not None else None
        made = drawing.draw(model, drawing.codes(model, len(self.real), SAMPLE_SEED, labels))
        features, answers = self.judge.look(made)
        found = {
            "val_frechet_distance": frechet_distance(self.real, features),
            "val_diversity": diversity(self.real, features),
        }
        if answers is not None:
            found["val_recognised"] = float((answers.max(-1) >= drawing.SURE).mean())
        values = workers.of_chief(model, np.array(list(found.values()), np.float64))
        return dict(zip(found, values.tolist(), strict=True))

    def _watch(self, row: dict[str, Any]) -> None:
        """Report a collapse of the generator, or a divergence of training, at its first epoch."""
        if not workers.is_chief(self.model):
            return
        history = [*self._before(row["epoch"]), row]
        now, then = drawing.remarks(history), drawing.remarks(history[:-1])
        best = 1 + int(min(history, key=lambda r: r["val_frechet_distance"])["epoch"])
        kept = f"the generator of epoch {best} is the best so far" + (", and kept" * (self.config.keep == "best"))
        what = {
            "collapsed": "the generator has collapsed, or has not begun to learn: its images are"
            f" {row['val_diversity']:.2f} times as diverse as real ones",
            "diverged": f"training has diverged: the Frechet distance is {row['val_frechet_distance']:.4g}",
        }
        for name, sentence in what.items():
            if now[name] and now[name][-1] == row["epoch"] + 1 and row["epoch"] not in then[name]:
                print(
                    f"epoch {row['epoch'] + 1}: {sentence}, for {drawing.IN_A_ROW} epochs; {kept}; try --set r1=1, a"
                    " lower --learning-rate or --set discriminator_rate",
                    file=sys.stderr,
                )

    def _before(self, epoch: int) -> list[dict[str, Any]]:
        """Return the rows of earlier epochs, including those before a resume."""
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
