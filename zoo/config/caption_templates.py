"""Captions made from the names of classes, by templates. Standard library only.

Several captions a class, as Radford et al. (2021) have them: a model that has read one way of saying it alone would not
know the next.
"""

import itertools
import re
from collections.abc import Sequence

from zoo.console.errors import UsageError

# {} is the name of the class; "a {}" becomes "an {}" before a vowel.
TEMPLATES = ("{}", "a {}", "the {}", "this is a {}", "a photo of a {}", "a picture of a {}", "an image of a {}")
# More of them, where every class is a number.
OF_NUMBERS = ("the digit {}", "the number {}", "a handwritten {}")
# What numbers are called besides, from 0.
NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)


def templates(text: str | None) -> tuple[str, ...] | None:
    """Return the templates that a user gave with | between them, None where none were given.

    Raises:
        UsageError: one without a place for the name, or with several.
    """
    if text is None:
        return None
    found = tuple(" ".join(part.split()) for part in text.split("|"))
    for template in found:
        if template.count("{}") != 1 or template.replace("{}", "").count("{"):
            raise UsageError(
                "--caption-templates: expected templates with one {} each for the name of the class, and | between"
                f" them, received {template!r}"
            )
    return found


def of_classes(class_names: Sequence[str], given: Sequence[str] | None = None) -> list[list[str]]:
    """Return the captions of each class, no caption twice.

    Args:
        class_names: underscores in them become spaces; a number is also called by its word.
        given: templates in place of ours.

    Raises:
        UsageError: two classes with the same caption, which nothing could tell apart.
    """
    numbers = all(name.isdecimal() for name in class_names)
    chosen = given or (*TEMPLATES, *(OF_NUMBERS if numbers else ()))
    found = [
        list(dict.fromkeys(_filled(template, called) for template in chosen for called in _called(name)))
        for name in class_names
    ]
    owner: dict[str, str] = {}
    for name, captions in zip(class_names, found, strict=True):
        for caption in captions:
            if owner.setdefault(caption.lower(), name) != name:
                raise UsageError(
                    f"captions: expected other captions for every class, {owner[caption.lower()]!r} and {name!r} are"
                    f" both {caption!r}"
                )
    return found


def places(groups: Sequence[Sequence[str]]) -> tuple[tuple[int, ...], ...]:
    """Return where the captions of each group are when all groups are put one after the other."""
    count = itertools.count()
    return tuple(tuple(next(count) for _ in group) for group in groups)


def _called(name: str) -> list[str]:
    """Return what a class is called: its name, and of a number its word."""
    plain = " ".join(name.replace("_", " ").split()) or name
    if plain.isdecimal() and int(plain) < len(NUMBER_WORDS):
        return [plain, NUMBER_WORDS[int(plain)]]
    return [plain]


def _filled(template: str, name: str) -> str:
    if name[:1].lower() in "aeiou":
        template = re.sub(r"\b([Aa]) \{\}", r"\1n {}", template)
    return template.replace("{}", name)
