"""Captions made from the names of classes, by templates. Standard library only.

Every class has several captions (Radford et al., 2021), so that the model does not depend on one wording.
"""

import itertools
import re
from collections.abc import Sequence

from zoo.console.errors import UsageError

# {} is the name of the class; "a {}" becomes "an {}" before a vowel.
TEMPLATES = ("{}", "a {}", "the {}", "this is a {}", "a photo of a {}", "a picture of a {}", "an image of a {}")
# Further templates if all classes are numbers.
OF_NUMBERS = ("the digit {}", "the number {}", "a handwritten {}")
# Words for the numbers from 0.
NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)


def templates(text: str | None) -> tuple[str, ...] | None:
    """Return the templates of a text, in which they are separated by |; None without a text.

    Args:
        text: Value of `--caption-templates`.

    Raises:
        UsageError: A template without {} for the name, or with several.
    """
    if text is None:
        return None
    found = tuple(" ".join(part.split()) for part in text.split("|"))
    for template in found:
        if template.count("{}") != 1 or template.replace("{}", "").count("{"):
            raise UsageError(
                "--caption-templates: expected templates separated by |, each with one {} for the name of the class,"
                f" received {template!r}"
            )
    return found


def of_classes(class_names: Sequence[str], given: Sequence[str] | None = None) -> list[list[str]]:
    """Return the captions of each class, each caption once.

    Args:
        class_names: Names of the classes; underscores become spaces, and numbers are also written as words.
        given: Templates in place of the built-in ones.

    Raises:
        UsageError: Two classes with the same caption.
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
                    f"captions: expected different captions for every class, {owner[caption.lower()]!r} and {name!r}"
                    f" have the same one, {caption!r}"
                )
    return found


def places(groups: Sequence[Sequence[str]]) -> tuple[tuple[int, ...], ...]:
    """Return the indices of the captions of each group in the concatenation of all groups."""
    count = itertools.count()
    return tuple(tuple(next(count) for _ in group) for group in groups)


def _called(name: str) -> list[str]:
    """Return the names of a class: its name and, if it is a number, the word for it."""
    plain = " ".join(name.replace("_", " ").split()) or name
    if plain.isdecimal() and int(plain) < len(NUMBER_WORDS):
        return [plain, NUMBER_WORDS[int(plain)]]
    return [plain]


def _filled(template: str, name: str) -> str:
    if name[:1].lower() in "aeiou":
        template = re.sub(r"\b([Aa]) \{\}", r"\1n {}", template)
    return template.replace("{}", name)
