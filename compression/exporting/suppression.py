"""Decoding of boxes and non-maximum suppression as a .tflite file in float32, appended to the file of a detector."""

from pathlib import Path
from typing import Any

from zoo.isolation import child
from zoo.objectives.priors import Priors
from zoo.scores import detections
from zoo.system import temporary

SECONDS = 300.0


def write(path: Path, priors: Priors, size: tuple[int, int], classes: int) -> None:
    """Write the file, whose inputs are the raw boxes and the logits of one picture.

    Its outputs are boxes (1, most, 4) in pixels of the input, classes and scores (1, most), and their number (1,).

    Args:
        path: Path of the file.
        priors: What raw boxes are relative to.
        size: (height, width) of the input, at whose edges boxes are cut.
        classes: Number of classes.

    Raises:
        zoo.console.errors.Failed: The conversion failed.
    """
    import tensorflow as tf

    places = len(priors.boxes)

    class Suppression(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((1, places, 4), tf.float32, "boxes"),
                tf.TensorSpec((1, places, classes), tf.float32, "scores"),
            ]
        )
        def serve(self, boxes: Any, scores: Any) -> dict[str, Any]:
            return suppressed(boxes, scores, priors, size)

    module = Suppression()
    with temporary.folder() as folder:
        tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serve": module.serve})
        plain = {"integer_io": False, "integer_input": False, "per_tensor": False, "equalize": False, "skip": []}
        plain |= {"best_ranges": False, "correct_bias": False, "rounding": "nearest", "mixed": None, "bare": False}
        job = {
            "saved_model": folder / "saved_model",
            "calibration": None,
            "batch": 1,
            "allow_flex": False,
            "ranges": {},
            "functions": None,
            "rolled_out": False,
            "files": [{"output": path, "precision": "float32", "reserved": 0, **plain}],
        }
        child.run("compression.exporting.converter", job, seconds=SECONDS)


def suppressed(raw: Any, logits: Any, priors: Priors, size: tuple[int, int]) -> dict[str, Any]:
    """Return the detections of one picture as `zoo.scores.detections.detected` does; tensors of TensorFlow.

    Args:
        raw: Raw boxes (1, places, 4).
        logits: Logits of the scores, (1, places, classes).
        priors: What raw boxes are relative to.
        size: (height, width) of the input.
    """
    import tensorflow as tf

    _, places, classes = logits.shape
    flat = tf.reshape(tf.sigmoid(logits), (places * classes,))
    boxes = tf.reshape(priors.decoded(raw), (places, 4))
    scores, index = tf.math.top_k(flat, min(detections.CANDIDATES, places * classes))
    kinds = index % classes
    edges = [float(size[1]), float(size[0])] * 2
    boxes = tf.clip_by_value(tf.gather(boxes, index // classes), 0.0, edges)
    # Boxes of different classes are moved apart, so that they do not overlap.
    apart = boxes + tf.cast(kinds, tf.float32)[:, None] * (2.0 * max(size))
    kept, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=apart,
        scores=scores,
        max_output_size=detections.MOST,
        iou_threshold=detections.OVERLAP,
        score_threshold=detections.LEAST_SCORE,
        pad_to_max_output_size=True,
    )
    return {
        "boxes": tf.gather(boxes, kept)[None],
        "classes": tf.gather(kinds, kept)[None],
        "scores": tf.gather(scores, kept)[None],
        "count": tf.reshape(count, (1,)),
    }
