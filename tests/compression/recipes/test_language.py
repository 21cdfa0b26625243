import pytest

from compression.recipes import language
from zoo.console.errors import UsageError


@pytest.mark.parametrize(
    ("text", "precision", "skip", "io"),
    [
        ("float16", "float16", (), "integer"),
        (" int8 ", "int8", (), "integer"),
        ("int8(skip=head)", "int8", ("head",), "integer"),
        ("int8(ranges=mse, equalize=true, correct_bias=true)", "int8", (), "integer"),
        ("int8(skip=conv_*|head, io=float32)", "int8", ("conv_*", "head"), "float32"),
        ("dynamic(head)", "dynamic", ("head",), "integer"),
        ("int16x8(io=float32)", "int16x8", (), "float32"),
        ("prune(0.8)", "float32", (), "integer"),
        ("qat", "int8", (), "integer"),
        ("qat(skip=head)", "int8", ("head",), "integer"),
        ("qat + int4(per_tensor=true)", "int4", (), "integer"),
        ("channels(0.5, taylor) + prune(0.8, pattern=4x1) + cluster(16) + qat + int8", "int8", (), "integer"),
        ("prune(pattern=2:4) + distill(teacher=a|b, alpha=0)", "float32", (), "integer"),
    ],
)
def test_recipes_are_parsed_and_written_back(text, precision, skip, io):
    recipe = language.parse(text)
    assert (recipe.precision, recipe.skip, recipe.io) == (precision, skip, io)
    assert language.parse(str(recipe)) == recipe
    assert not set(recipe.file_name) & set('/\\:*?"<>|() ,=')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int9", ["int9", "expected one of", "did you mean 'int8'"]),
        ("", ["expected words such as int8"]),
        ("int8(", ["expected words such as int8", "int8("]),
        ("int8(skp=head)", ["no argument 'skp'", "did you mean 'skip'"]),
        ("int8(io=int)", ["int8(io)", "integer, float32", "'int'"]),
        ("int8(a, integer, true, true, mse, true, true, learnt, 2, 1, true, b)", ["at most 11 arguments", "'b'"]),
        ("int8(ranges=max)", ["int8(ranges)", "minmax, mse", "'max'"]),
        ("qat + int8(ranges=mse)", ["ranges would replace the ranges that qat trains"]),
        ("qat + int8(equalize=true)", ["equalize would replace"]),
        ("int4(rounding=nearst)", ["int4(rounding)", "learnt, nearest", "did you mean 'nearest'"]),
        ("qat + int8(rounding=learnt)", ["int8: rounding=learnt would move the weights", "qat trained"]),
        ("qat + int4(rounding=learnt)", ["rounding=learnt would move the weights", "qat trained", "rounding=nearest"]),
        ("cluster(4) + int4(rounding=learnt)", ["cluster trained"]),
        ("int4(mixed=0)", ["int4: mixed: expected at least 1 byte, received 0"]),
        ("int4(mixed=some)", ["int4(mixed)", "'some'"]),
        ("int4(rounding=nearest, mixed=50k)", ["int4: mixed measures on examples", "received rounding=nearest"]),
        ("int8(skip=a, skip=b)", ["skip is given twice"]),
        ("float16(skip=head)", ["float16", "takes no arguments"]),
        ("int8 + float16", ["expected one precision", "int8, float16"]),
        ("prun(0.8)", ["unknown recipe word 'prun'", "did you mean 'prune'"]),
        ("prune", ["prune: sparsity", "from 0 to below 1", "None"]),
        ("prune(1)", ["prune: sparsity", "1.0"]),
        ("prune(-0.1)", ["prune: sparsity", "-0.1"]),
        ("prune(half)", ["prune(sparsity)", "a number", "'half'"]),
        ("prune(0.5, pattern=4by1)", ["pattern", "4x1", "4by1"]),
        ("prune(0.8, pattern=2:4)", ["sparsity: expected 0.5", "0.8"]),
        ("prune(pattern=4:4)", ["pattern", "0 < M < N"]),
        ("prune(0.5, begin=9, end=3)", ["end", "after begin=9", "3"]),
        ("prune(0.5, initial=0.6)", ["initial", "0.5", "0.6"]),
        ("prune(0.5, epochs=0)", ["epochs", "at least 1", "0"]),
        ("prune(0.5) + prune(0.8)", ["prune is given twice"]),
        ("cluster", ["cluster: number", "at least 2"]),
        ("cluster(1)", ["cluster: number", "at least 2", "1"]),
        ("cluster(4, init=random)", ["linear, density, kmeans++", "'random'"]),
        ("channels", ["channels: expected share", "or keep"]),
        ("channels(1)", ["channels: share: expected a number above 0 and below 1", "1.0"]),
        ("channels(keep=conv_1)", ["channels: keep: expected LAYER:COUNT, with a whole number of at least 1"]),
        ("channels(keep=conv_1:0)", ["expected LAYER:COUNT"]),
        ("channels(keep=conv_1:2.5)", ["expected LAYER:COUNT"]),
        ("channels(keep=:2)", ["expected LAYER:COUNT"]),
        ("channels(keep=a:2|a:3)", ["channels: keep: expected each layer once"]),
        ("distill(init=teacher)", ["init", "own", "the model itself is the teacher"]),
        ("distill(a, temperature=0)", ["temperature", "0.0"]),
        ("distill(a, alpha=2)", ["alpha", "2.0"]),
        ("distill(a, match=hidden)", ["match", "STUDENT_LAYER:TEACHER_LAYER", "hidden"]),
        ("distill(a|b, match=x:y)", ["match", "none with several teachers"]),
        ("prune(0.5) + distill(a, epochs=3)", ["loss of the other words"]),
        ("qat + float16", ["qat trains for integers", "float16"]),
        ("qat + int8(skip=head)", ["must skip the same layers", "none and head"]),
        ("int8 + prune(0.5)", ["prune after int8 would destroy int8", "put prune first"]),
        ("cluster(4) + prune(0.5)", ["prune after cluster would destroy cluster", "out of their clusters"]),
        ("qat + prune(0.5)", ["prune after qat would destroy qat"]),
        ("qat + cluster(4)", ["cluster after qat would destroy qat"]),
        ("prune(0.5) + channels(0.5)", ["channels after prune would destroy prune"]),
    ],
)
def test_a_recipe_that_cannot_be_is_one_sentence(text, words):
    with pytest.raises(UsageError) as error:
        language.parse(text)
    assert all(word in str(error.value) for word in words), error.value


def test_distillation_alone_is_a_stage_and_else_the_loss_of_the_others():
    alone, beside = language.parse("distill(a) + int8"), language.parse("distill(a) + prune(0.5)")
    assert alone.stages == (alone.distill,)
    assert [stage.word for stage in beside.stages] == ["prune"] and beside.distill.teacher == ("a",)


def test_shared_values_keep_one_scale_a_tensor():
    assert language.parse("cluster(4) + int8").one_scale
    assert not language.parse("cluster(4, per_channel=true) + int8").one_scale
    assert language.parse("int8(per_tensor=true)").one_scale


def test_rounding_is_learnt_from_examples_unless_weights_were_trained_for_it():
    for text, learns in {
        "int4": True,
        "prune(0.5) + int4": True,
        "int4(rounding=nearest)": False,
        "qat + int4": False,
        "cluster(4) + int4": False,
        "dynamic": False,
        "int8(rounding=learnt)": True,
    }.items():
        recipe = language.parse(text)
        assert recipe.learns == recipe.takes_examples == learns, text
        assert language.parse(str(recipe)) == recipe
    assert language.parse("int8").takes_examples and not language.parse("int8").learns
    assert language.parse("int4(mixed=52KiB)").mixed == 53_248
    assert str(language.parse("int4(mixed=52KiB)")) == "int4(mixed=53248)"
    assert str(language.parse("qat + int4")) == "qat + int4"


def test_long_recipes_have_short_and_different_file_names():
    long = [f"prune(0.{i}) + cluster(16) + qat + int8 + distill(teacher={'runs/teacher' * 9})" for i in (7, 8)]
    names = {language.parse(text).file_name for text in long}
    assert len(names) == 2 and max(map(len, names)) <= language.LONGEST_NAME


def test_precisions_share_what_is_trained_where_training_does_not_depend_on_them():
    assert language.parse("prune(0.8) + int8").training_name == language.parse("prune(0.8) + float16").training_name
    assert language.parse("qat + int8").training_name != language.parse("qat + int4").training_name


def test_channels_keep_a_share_or_exact_numbers():
    (stage,) = language.parse("channels(keep=conv_1:6|hidden:20)").stages
    assert (stage.share, stage.counts) == (None, {"conv_1": 6, "hidden": 20})
    (half,) = language.parse("channels(0.5)").stages
    assert (half.share, half.counts) == (0.5, {})
    for text in (
        "channels(keep=conv_1:6|hidden:20)",
        "channels(0.5)",
        "channels(0.5, taylor, keep=a/b:6)",
        "channels(0.5, init=scratch)",
    ):
        assert language.parse(str(language.parse(text))) == language.parse(text)
    assert (str(stage), str(half)) == ("channels(keep=conv_1:6|hidden:20)", "channels(0.5)")
