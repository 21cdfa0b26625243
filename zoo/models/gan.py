"""GAN: a generator of images and a discriminator trained against each other (Goodfellow et al., 2014).

Both are trained in the same step by one optimizer. Each side's objective is an output of the model with its own loss,
and gradients are stopped where they would reach the other side. So `fit`, checkpoints and strategies work as for any
other model. The registry names two: `gan` (DCGAN, after Radford et al., 2016) and `gan_dense`.
"""

from typing import Literal

import keras
from keras import ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.drawing.discriminator import Discriminator
from zoo.models.parts.drawing.generator import Generator
from zoo.models.parts.layers import check_positive
from zoo.objectives.gradients import gradient


@keras.saving.register_keras_serializable("zoo")
class GAN(ZooModel):
    """A generator, the moving average of its weights, and a discriminator.

    In training the average moves towards the generator before the generator is updated from the batch, so it lags by
    one step.

    Args:
        num_classes: Number of classes.
        conditional: Whether images are generated and judged by class.
        latent_size: Number of noise values that an image is generated from.
        architecture: "dcgan" (transposed convolutions, batch normalisation, LeakyReLU) or "dense".
        filters: Channels of "dcgan": the generator's, starting with the smallest map, and, reversed, the
            discriminator's. Each entry doubles height and width.
        kernel_size: Height and width of the kernels of "dcgan".
        units: Layer widths of "dense": the generator's and, reversed, the discriminator's.
        norm: Normalisation in the discriminator: "none", "batch" or "layer".
        loss: "non_saturating" (Goodfellow et al., 2014), "hinge" (Lim & Ye, 2017) or "wasserstein" (Arjovsky et al.,
            2017).
        gradient_penalty: Weight of the gradient penalty of "wasserstein" (WGAN-GP, Gulrajani et al., 2017).
        r1: Weight of the R1 penalty, half the squared gradient norm at real images (Mescheder et al., 2018); 0 for
            none.
        discriminator_rate: Factor on the learning rate of the discriminator (two time scales, Heusel et al., 2017).
        average_decay: Decay of the moving average of the generator's weights, in [0, 1). Samples come from the
            average.

    Call arguments, as one tuple:
        images: Real images (batch, height, width, channels), pixels in [0, 1].
        code: Input of the generator (batch, code_size); see `Generator`. With a conditional model it holds the classes
            of the real images.
        mix: Positions (batch, 1) in [0, 1] between a real and a generated image at which WGAN-GP takes the gradient.

    Output: a dictionary of tensors (batch, 1). `real` and `fake` are the discriminator's logits for real and generated
        images; `generator` repeats those for generated images with gradients for the generator alone;
        `gradient_penalty` and `r1`, if enabled, are multiplied by their weights.

    Raises:
        ValueError: If a size is not positive, if a name is unknown, or if a gradient penalty is combined with batch
            normalisation in the discriminator, which mixes the gradients of the examples.
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
                "gan: norm=batch: expected no gradient penalty (r1 or loss=wasserstein), because batch normalisation"
                " mixes the images of a batch; use norm=layer or norm=none"
            )
        # The parts compute with the requested policy. The model itself reads weights in full precision, for the
        # gradient penalty and the moving average.
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
        """Width of the generator's input: the noise and, if the model is conditional, the one-hot class."""
        return self.latent_size + (self.num_classes if self.conditional else 0)

    @property
    def rates(self) -> dict[str, float]:
        """Factor on the learning rate of each part that does not use the common rate."""
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
        """Return images (batch, height, width, channels) that the averaged generator makes from codes."""
        return self.average(code, training=False)

    def _judged(self, images, classes, training, learning):
        """Return the discriminator's logits without side effects; its weights get gradients only if `learning`."""
        judge = self.discriminator
        weights = [ops.convert_to_tensor(v) for v in judge.trainable_variables]
        weights = weights if learning else [ops.stop_gradient(w) for w in weights]
        state = [ops.convert_to_tensor(v) for v in judge.non_trainable_variables]
        return judge.stateless_call(weights, state, images, classes, training=training)[0]

    def _squared_slope(self, images, classes, training):
        """Return the squared norm of the discriminator's gradient at each image, (batch, 1)."""
        slope = gradient(lambda x: self._judged(x, classes, training, learning=True), images)
        return ops.sum(ops.square(slope), axis=(1, 2, 3))[:, None]

    def _follow(self):
        """Move the average one step towards the generator, faster at the beginning of training."""
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
