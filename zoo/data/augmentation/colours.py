"""Changes of brightness, contrast and colour. Images are (batch, height, width, channels), pixels in [0, 1]."""

from typing import Any

from keras import ops

# Weights of red, green and blue in brightness (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
# Kernel of the smooth image that sharpness starts from (Pillow's ImageFilter.SMOOTH).
_SMOOTH = (1 / 13, 5 / 13)
LEVELS = 256  # of a byte


def each(values: Any) -> Any:
    """Return numbers (batch,) in a shape that applies to the pixels of each image."""
    return ops.reshape(values, (-1, 1, 1, 1))


def clipped(images: Any) -> Any:
    """Return images with pixels in [0, 1]."""
    return ops.clip(images, 0.0, 1.0)


def grey(images: Any) -> Any:
    """Return the brightness of each pixel, (batch, height, width, 1)."""
    if images.shape[-1] != len(LUMA):
        return ops.mean(images, axis=-1, keepdims=True)
    return sum(weight * images[..., i : i + 1] for i, weight in enumerate(LUMA))


def mean_grey(images: Any) -> Any:
    """Return the mean brightness of each image, (batch, 1, 1, 1)."""
    return ops.mean(grey(images), axis=(1, 2), keepdims=True)


def jittered(images: Any, brightness: Any, contrast: Any, saturation: Any) -> Any:
    """Return images with brightness, contrast and saturation multiplied by factors, (batch,)."""
    images = clipped(images * each(brightness))
    mean = mean_grey(images)
    images = clipped(mean + each(contrast) * (images - mean))
    if images.shape[-1] != len(LUMA):
        return images
    plain = grey(images)
    return clipped(plain + each(saturation) * (images - plain))


def smoothed(images: Any) -> Any:
    """Return slightly blurred images; pixels at the edge are mirrored outwards."""
    padded = ops.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
    height, width = images.shape[1:3]
    around = sum(padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3) if (i, j) != (1, 1))
    return _SMOOTH[0] * around + _SMOOTH[1] * images


def stretched(images: Any) -> Any:
    """Return images whose darkest and brightest value of each channel are 0 and 1 (autocontrast)."""
    low, high = ops.min(images, axis=(1, 2), keepdims=True), ops.max(images, axis=(1, 2), keepdims=True)
    return ops.where(high > low, (images - low) / ops.maximum(high - low, 1e-6), images)


def equalized(images: Any) -> Any:
    """Return images in which each brightness is about as frequent as any other, in each channel.

    The new value of a pixel is the share of darker pixels among those that are not the darkest of its channel, the
    formula of histogram equalization; pixels are rounded to bytes for it.
    """
    count, pixels = ops.shape(images)[0], images.shape[1] * images.shape[2]
    level = ops.cast(ops.round(images * (LEVELS - 1)), "int32")
    # The place of each pixel in a table of counts (image, channel, level).
    row = ops.arange(count, dtype="int32")[:, None, None, None] * images.shape[-1]
    place = (row + ops.arange(images.shape[-1], dtype="int32")) * LEVELS + level
    flat = ops.reshape(place, (-1,))
    size = count * images.shape[-1] * LEVELS
    counts = ops.reshape(ops.segment_sum(ops.ones_like(flat), flat, num_segments=size), (-1, LEVELS))
    up_to = ops.cumsum(counts, axis=-1)
    darkest = ops.min(ops.where(counts > 0, up_to, pixels), axis=-1, keepdims=True)
    share = ops.cast(ops.maximum(up_to - darkest, 0), "float32") / ops.cast(ops.maximum(pixels - darkest, 1), "float32")
    share = ops.where(darkest < pixels, share, ops.cast(ops.arange(LEVELS), "float32") / (LEVELS - 1))
    return ops.reshape(ops.take(ops.reshape(share, (-1,)), flat), ops.shape(images))


def posterized(images: Any, bits: Any) -> Any:
    """Return images whose pixels keep only so many leading bits, (batch,)."""
    levels = each(ops.power(2.0, bits))
    return ops.floor(ops.minimum(images, (LEVELS - 1) / LEVELS) * levels) / levels


def solarized(images: Any, threshold: Any) -> Any:
    """Return images whose pixels at or above a threshold, (batch,), are inverted."""
    return ops.where(images >= each(threshold), 1 - images, images)
