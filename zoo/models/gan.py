"""GAN: a generator of images and a discriminator that learn from each other (Goodfellow et al., 2014).

Both learn in the same step, by one optimizer: what each side would have small is an output of the model with a loss of
its own, and gradients are stopped where they would reach the other side. So `fit`, checkpoints and strategies are those
of any other model. Names in the registry: `gan` (DCGAN, after Radford et al., 2016) and `gan_dense`.
"""

from typing import Literal

import keras
from keras import ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.discriminator import Discriminator
from zoo.models.parts.generator import Generator
from zoo.models.parts.layers import check_positive
from zoo.objectives.gradients import gradient


@keras.saving.register_keras_serializable("zoo")
class GAN(ZooModel):
    """A generator, its running average, and a discriminator.

    Args:
        num_classes: number of classes.
        conditional: images are drawn and judged by class.
        latent_size: numbers of noise that an image is drawn from.
        architecture: "dcgan" (transposed convolutions, batch normalisation, LeakyReLU) or "dense".
        filters: of dcgan: the generator's channels, the smallest map first, and the discriminator's, the last first; as
            many doublings of height and width as numbers.
        kernel_size: of dcgan: height and width of the kernels.
        units: of dense: the generator's widths, and the discriminator's from the last.
        norm: of the discriminator: "none", "batch" or "layer".
        loss: "non_saturating" (Goodfellow et al., 2014), "hinge" (Lim & Ye, 2017) or "wasserstein" (Arjovsky et al.,
            2017).
        gradient_penalty: of wasserstein: weight of the squared distance from 1 of the discriminator's slope between
            real and made images (Gulrajani et al., 2017).
        r1: weight of half the discriminator's squared slope at real images (Mescheder et al., 2018); 0 leaves it out.
        discriminator_rate: what the learning rate is multiplied by for the discriminator (two time scales: Heusel et
            al., 2017).
        average_decay: of the running average of the generator's weights, which images are drawn with.

    Call arguments, a tuple of three:
        images: (batch, height, width, channels), real ones, pixels in [0, 1].
        code: (batch, code_size), see `Generator`; of a conditional model with the classes of the real images.
        mix: (batch, 1), in [0, 1], where between a real and a made image the slope is looked at.

    Output: a dictionary of (batch, 1): `real` and `fake`, the discriminator's logits of real and of made images;
        `generator`, its logits of made images, of which gradients reach the generator alone; and where they are asked
        for `gradient_penalty` and `r1`, times their weights.

    In training the average takes one step towards the generator before the generator learns from the batch, so it
    follows one step late.

    Raises:
        ValueError: a size that is not positive, an unknown name, or penalties with a batch normalisation in the
            discriminator, where no example has a slope of its own.
    """

    WIDTHS = {"filters": 1, "units": 1}

    def __init__(
        self,
        num_classes: int = 10,
        conditional: bool = False,
        latent_size: int = 64,
        architecture: Literal["dcgan", "dense"] = "dcgan",
        filters: tuple[int, ...] = (64, 32),
        kernel_size: int = 4,
        units: tuple[int, ...] = (256, 512),
        norm: Literal["none", "batch", "layer"] = "none",
        loss: Literal["non_saturating", "hinge", "wasserstein"] = "non_saturating",
        gradient_penalty: float = 10.0,
        r1: float = 0.0,
        discriminator_rate: float = 1.0,
        average_decay: float = 0.999,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("gan", num_classes=num_classes, latent_size=latent_size)
        if not filters or not units:
            raise ValueError("gan: filters and units: expected one number or more, received none")
        if not 0 <= average_decay < 1 or r1 < 0 or gradient_penalty <= 0 or discriminator_rate <= 0:
            raise ValueError(
                "gan: expected average_decay from 0 to below 1, r1 of 0 or more, gradient_penalty and"
                f" discriminator_rate above 0, received {average_decay}, {r1}, {gradient_penalty}, {discriminator_rate}"
            )
        if norm == "batch" and (r1 or loss == "wasserstein"):
            raise ValueError(
                "gan: norm=batch: expected no penalty beside it (r1, or that of loss=wasserstein), which is of each"
                " image's own slope, and a batch normalisation mixes images; use norm=layer or norm=none"
            )
        # Its parts compute in what was asked for; here weights are read as they are, for a gradient and an average.
        self.parts_policy = self.dtype_policy
        self.dtype_policy = keras.DTypePolicy(self.dtype_policy.variable_dtype)
        self.num_classes = num_classes
        self.conditional = conditional
        self.latent_size = latent_size
        self.architecture = architecture
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.units = tuple(units)
        self.norm = norm
        self.loss_kind = loss
        self.gradient_penalty = gradient_penalty
        self.r1 = r1
        self.discriminator_rate = discriminator_rate
        self.average_decay = average_decay

    @property
    def code_size(self) -> int:
        """Numbers that an image is drawn from: noise, and where the model is conditional the class."""
        return self.latent_size + (self.num_classes if self.conditional else 0)

    @property
    def rates(self) -> dict[str, float]:
        """Which parts of the model learn at another rate, and how many times the common one."""
        return {} if self.discriminator_rate == 1 else {"discriminator": self.discriminator_rate}

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(f"gan: expected images (height, width, channels), received shape {input_shape[1:]}")
        common = {"architecture": self.architecture, "kernel_size": self.kernel_size, "dtype": self.parts_policy}
        drawing = {**common, "image_shape": tuple(input_shape[1:]), "filters": self.filters, "units": self.units}
        self.generator = Generator(**drawing, name="generator")
        self.average = Generator(**drawing, name="average")
        self.discriminator = Discriminator(
            filters=self.filters[::-1], units=self.units[::-1], norm=self.norm, **common, name="discriminator"
        )
        for part in (self.generator, self.average):
            part.build((None, self.code_size))
        self.discriminator.build(tuple(input_shape), (None, self.code_size - self.latent_size))
        self.average.trainable = False
        for mine, theirs in self._pairs():
            mine.assign(theirs)
        self.updates = self.add_weight(shape=(), initializer="zeros", trainable=False, name="updates")
        self.built = True

    def call(self, inputs, training=None):
        images, code, mix = inputs
        classes = code[:, self.latent_size :]
        made = self.generator(code, training=training)
        if training:
            self._follow()
        apart = ops.stop_gradient(made)
        images = ops.cast(images, made.dtype)
        outputs = {
            "real": self.discriminator(images, classes, training=training),
            "fake": self.discriminator(apart, classes, training=training),
            "generator": self._judged(made, classes, training, learning=False),
        }
        if self.loss_kind == "wasserstein":
            mix = ops.reshape(ops.cast(mix, made.dtype), (-1, 1, 1, 1))
            slope = ops.sqrt(self._squared_slope(mix * images + (1 - mix) * apart, classes, training) + 1e-12)
            outputs["gradient_penalty"] = self.gradient_penalty * ops.square(slope - 1)
        if self.r1:
            outputs["r1"] = self.r1 / 2 * self._squared_slope(images, classes, training)
        return outputs

    def sample(self, code):
        """Return the images, (batch, height, width, channels), that the average draws from codes."""
        return self.average(code, training=False)

    def _judged(self, images, classes, training, learning):
        """Return logits without side effects; unless `learning`, the discriminator's weights get no gradient."""
        judge = self.discriminator
        weights = [ops.convert_to_tensor(v) for v in judge.trainable_variables]
        weights = weights if learning else [ops.stop_gradient(w) for w in weights]
        state = [ops.convert_to_tensor(v) for v in judge.non_trainable_variables]
        return judge.stateless_call(weights, state, images, classes, training=training)[0]

    def _squared_slope(self, images, classes, training):
        """Return (batch, 1): the squared norm of the discriminator's gradient at each image."""
        slope = gradient(lambda x: self._judged(x, classes, training, learning=True), images)
        return ops.sum(ops.square(slope), axis=(1, 2, 3))[:, None]

    def _follow(self):
        """Move the average one step towards the generator, faster in the beginning."""
        decay = ops.minimum(self.average_decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in self._pairs():
            mine.assign(mine + (1 - decay) * (theirs - mine))
        self.updates.assign(self.updates + 1)

    def _pairs(self):
        return zip(self.average.variables, self.generator.variables, strict=True)

    def get_config(self):
        return super().get_config() | {
            "dtype": keras.dtype_policies.serialize(self.parts_policy),
            "num_classes": self.num_classes,
            "conditional": self.conditional,
            "latent_size": self.latent_size,
            "architecture": self.architecture,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "units": self.units,
            "norm": self.norm,
            "loss": self.loss_kind,
            "gradient_penalty": self.gradient_penalty,
            "r1": self.r1,
            "discriminator_rate": self.discriminator_rate,
            "average_decay": self.average_decay,
        }
