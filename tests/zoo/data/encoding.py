"""What the tests of stored examples make them with."""

import io

from PIL import Image

from zoo.config.train_config import TrainConfig


def encoded(image, form="jpeg"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def config(data, **options):
    return TrainConfig(model="cnn", data=data, **({"image_size": 24} | options))
