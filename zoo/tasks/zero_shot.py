"""`zoo.predict` of a run on images and captions: which of some texts says what an image shows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder


def check(folder: RunFolder, labels: Sequence[str] | None) -> None:
    """Raise UsageError for texts that nothing can be chosen among, before a model is loaded."""
    stored = folder.read_config()
    if labels is None:
        if not stored["data"]["class_names"]:
            raise UsageError("--labels: expected texts to choose among, as this run has captions and no classes")
        return
    if len(labels) < 2:
        raise UsageError(f"--labels: expected two or more texts with commas between, received {len(labels)}")
    if repeated := [label for label, count in Counter(labels).items() if count > 1]:
        raise UsageError(f"--labels: expected every text once, received {repeated[0]!r} more than once")


def probabilities(folder: RunFolder, inputs: Sequence[str], labels: Sequence[str] | None) -> tuple[list[str], Any, Any]:
    """Return a name for each image, the texts to choose among, and (images, texts) probabilities.

    Args:
        folder: of the run.
        inputs: images, or .npz files with x.
        labels: texts; default, the run's classes, each by all of its captions.

    Raises:
        UsageError: an input that cannot be read, or a text without a word that the run knows.
    """
    from zoo.config import caption_templates
    from zoo.data.text import UNKNOWN_ID, longer
    from zoo.runs.inference import probabilities, read_inputs
    from zoo.runs.vocabularies import read_spec
    from zoo.tasks import contrastive

    spec, vocabulary = read_spec(folder)
    names, x = read_inputs(inputs, spec, None, "")
    (length,) = spec.target_shape
    if labels is None:
        config = folder.read_config()["config"]
        of_class = caption_templates.of_classes(spec.class_names, caption_templates.templates(config.caption_templates))
        shown, texts = spec.class_names, [text for group in of_class for text in group]
    else:
        of_class, shown, texts = [[text] for text in labels], labels, list(labels)
    rows = vocabulary.rows(texts)
    for text, row in zip(texts, rows, strict=True) if labels is not None else ():
        unknown = row.count(UNKNOWN_ID)
        if unknown == len(row):
            raise UsageError(
                f"--labels {text!r}: expected a text with words of the run's vocabulary, found none of them"
            )
        if unknown:
            cli.say(f"--labels {text!r}: {unknown} of {len(row)} tokens are not in the run's vocabulary")
    if cut := longer(rows, length):
        cli.say(f"--labels: {cut} of {len(rows)} texts are longer than the {length} tokens of this run and are cut")
    found = contrastive.embedded(folder.load_model(), x, vocabulary.padded(rows, length))
    return names, shown, probabilities(found.class_scores(caption_templates.places(of_class)))
