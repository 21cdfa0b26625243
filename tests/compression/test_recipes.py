import pytest

from compression import recipes
from zoo.errors import UsageError


@pytest.mark.parametrize(
    ("text", "precision", "skip", "io"),
    [
        ("float16", "float16", (), "integer"),
        (" int8 ", "int8", (), "integer"),
        ("int8(skip=head)", "int8", ("head",), "integer"),
        ("int8(skip=conv_*|head, io=float32)", "int8", ("conv_*", "head"), "float32"),
        ("dynamic(head)", "dynamic", ("head",), "integer"),
        ("int16x8(io=float32)", "int16x8", (), "float32"),
    ],
)
def test_recipes_are_parsed_and_written_back(text, precision, skip, io):
    recipe = recipes.parse(text)
    assert (recipe.precision, recipe.skip, recipe.io) == (precision, skip, io)
    assert recipes.parse(str(recipe)) == recipe
    assert not set(recipe.file_name) & set('/\\:*?"<>|() ,=')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int9", ["int9", "expected one of", "did you mean 'int8'"]),
        ("", ["expected words such as int8"]),
        ("int8(", ["expected words such as int8", "int8("]),
        ("int8(skp=head)", ["no argument 'skp'", "did you mean 'skip'"]),
        ("int8(io=int)", ["int8(io)", "integer, float32", "'int'"]),
        ("int8(a, integer, b)", ["at most 2 arguments", "'b'"]),
        ("int8(skip=a, skip=b)", ["skip is given twice"]),
        ("float16(skip=head)", ["float16", "takes no arguments"]),
        ("int8 + float16", ["expected one precision", "int8, float16"]),
        ("prune(0.8) + int8", ["'prune' is not part of this version"]),
    ],
)
def test_a_recipe_that_cannot_be_is_one_sentence(text, words):
    with pytest.raises(UsageError) as error:
        recipes.parse(text)
    assert all(word in str(error.value) for word in words), error.value
