"""Each training pass against an independent reference: a closed form, numpy, or the original model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from compression.passes import clustering, grids, parametrize, pruning, qat
from compression.passes.distillation import Distillation, SoftDecisions, SoftTargets, Taught, initialise
from compression.recipes import language
from compression.surgery import folding
from compression.surgery.layers import kernels_of, with_kernels
from tests.compression.conftest import small
from zoo.console.errors import UsageError


def stage(text):
    """Return the first training pass of a recipe."""
    return language.parse(text).stages[0]


def kernels(model):
    return {v.path: ops.convert_to_numpy(v) for layer in with_kernels(model).values() for v in kernels_of(layer)}


def fitted(wrapped, x, steps=4, classes=3):
    """Train a wrapped model for a few steps, with a learning rate that changes every weight, and return it."""
    wrapped.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    y = np.arange(len(x)) % classes
    wrapped.fit(x, y, batch_size=len(x) // steps, epochs=1, verbose=0, shuffle=False)
    return wrapped


@pytest.mark.parametrize("schedule", ["constant", "polynomial"])
def test_pruning_leaves_exactly_the_largest_weights(schedule):
    model, _, x = small("simplenet")
    before = kernels(model)
    wrapped = pruning.Pruned(model, stage(f"prune(0.7, schedule={schedule}, end=1, frequency=1, budget=layer)"), 4)
    wrapped.compile(optimizer=keras.optimizers.SGD(0.0), loss=keras.losses.SparseCategoricalCrossentropy(True))
    wrapped.fit(x, np.arange(len(x)) % 3, batch_size=8, verbose=0)  # learning rate 0: initial weights decide
    for path, value in kernels(wrapped.strip()).items():
        kept = round(value.size * 0.3)
        largest = np.sort(np.abs(before[path]).reshape(-1))[-kept:]
        assert np.count_nonzero(value) == kept
        np.testing.assert_array_equal(np.sort(np.abs(value[value != 0])), largest)


def test_pruning_keeps_zeros_through_training_and_under_adam():
    model, _, x = small("cnn")
    pruned = kernels(fitted(pruning.Pruned(model, stage("prune(0.8, end=2, budget=layer)"), 4), x).strip())
    assert all(np.count_nonzero(v) == round(v.size * 0.2) for v in pruned.values())


def test_block_and_two_of_four_patterns():
    model, _, x = small("simplenet", units=(16, 8))
    config = stage("prune(0.5, pattern=4x1, skip=hidden_1, end=2)")
    for path, value in kernels(fitted(pruning.Pruned(model, config, 4), x).strip()).items():
        if "hidden_1" not in path:
            blocks = (value.reshape(-1, 4, value.shape[1]) != 0).sum(1)
            assert set(np.unique(blocks)) == {0, 4} and (blocks == 0).mean() == 0.5
    model, _, x = small("simplenet", units=(16, 8))
    before = kernels(model)
    wrapped = pruning.Pruned(model, stage("prune(pattern=2:4, skip=hidden_1)"), 4)
    wrapped.compile(optimizer=keras.optimizers.SGD(0.0), loss=keras.losses.SparseCategoricalCrossentropy(True))
    wrapped.fit(x, np.arange(len(x)) % 3, batch_size=8, verbose=0)
    for path, value in kernels(wrapped.strip()).items():
        if "hidden_1" not in path:
            groups, first = (np.abs(v).reshape(-1, 4, v.shape[1]) for v in (value, before[path]))
            assert ((groups != 0).sum(1) == 2).all()
            np.testing.assert_allclose(groups.sum(1), np.sort(first, 1)[:, 2:].sum(1), rtol=1e-6)


def test_a_global_budget_ranks_all_weights_together():
    rng = np.random.default_rng(0)
    values = [rng.normal(0, scale, shape).astype("float32") for scale, shape in ((1, (40, 10)), (0.2, (30, 20)))]
    found = pruning.sparsities(stage("prune(0.75, budget=global)"), values)
    kept = [round(v.size * (1 - s)) for v, s in zip(values, found, strict=True)]
    ranked = np.sort(np.abs(np.concatenate([v.reshape(-1) for v in values])))[-250:]
    assert sum(kept) == 250
    assert kept == [int((np.abs(v) >= ranked[0]).sum()) for v in values]


def test_layers_share_the_zeros_by_lamp():
    """A weight's score is its square as a share of the squares that are not smaller; scores of one layer end in 1."""
    values = [np.array([[3.0, -1.0], [2.0, 4.0]]), 100 * np.array([[0.1, 1.0]])]
    scores = [[1 / 30, 4 / 29, 9 / 25, 1], [0.01 / 1.01, 1]]
    np.testing.assert_allclose(np.concatenate([pruning.lamp(v) for v in values]), np.concatenate(scores))
    assert pruning.sparsities(stage("prune(0.5)"), values) == [0.5, 0.5]  # 9 / 25, 1 and 1 are left
    assert pruning.sparsities(stage("prune(0.5, budget=global)"), values) == [0.75, 0.0]
    assert pruning.sparsities(stage("prune(0.5, pattern=2x1)"), values) == [0.5, 0.5]
    assert stage("prune(0.5)").shares == "lamp" and stage("prune(pattern=2:4)").shares == "layer"


def test_first_and_last_layers_can_be_left_out():
    model, _, _ = small("cnn")
    found = pruning.targets(model, stage("prune(0.5, first=false, last=false)"))
    assert list(found) == list(with_kernels(model))[1:-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prune(0.5, end=9)", ["end", "at most the training's 4 steps", "9"]),
        ("prune(0.5, begin=4)", ["begin", "before the training's 4", "4"]),
        ("prune(0.5, end=2, frequency=3)", ["frequency", "2 steps", "3"]),
        ("prune(0.5, pattern=4x1)", ["pattern 4x1", "conv_1 (3, 3, 1, 4)", "skip="]),
        ("prune(pattern=2:4)", ["pattern 2:4", "conv_1 (3, 3, 1, 4)"]),
        ("prune(0.5, only=hiden)", ["only=hiden", "did you mean 'hidden'"]),
        ("prune(0.5, skip=*)", ["no layer is left", "conv_1"]),
    ],
)
def test_invalid_pruning_is_a_usage_error(text, words):
    model, _, _ = small("cnn")
    with pytest.raises(UsageError) as error:
        pruning.Pruned(model, stage(text), 4)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    "init", ["linear", *(pytest.param(init, marks=pytest.mark.slow) for init in ("density", "kmeans++"))]
)
def test_clustering_limits_distinct_values_and_keeps_zeros_of_pruning(init):
    model, _, x = small("simplenet", units=(24, 16))
    for variable in (v for layer in with_kernels(model).values() for v in kernels_of(layer)):
        variable.assign(variable * (np.random.default_rng(0).random(variable.shape) < 0.4))
    before = kernels(model)
    wrapped = clustering.clustered(model, stage(f"cluster(6, init={init}, skip=head)"), set(before))
    after = kernels(fitted(wrapped, x).strip())
    for path, value in after.items():
        if "head" in path:
            continue
        assert 2 < len(np.unique(value)) <= 6 and 0 in value
        np.testing.assert_array_equal(value == 0, before[path] == 0)
        assert not np.array_equal(value, before[path])


@pytest.mark.slow
def test_clustering_per_channel_has_values_for_each_channel():
    model, _, x = small("cnn")
    wrapped = clustering.clustered(model, stage("cluster(3, per_channel=true, skip=head)"), set())
    for path, value in kernels(fitted(wrapped, x).strip()).items():
        if "head" not in path:
            assert all(len(np.unique(value[..., i])) <= 3 for i in range(value.shape[-1]))
            assert len(np.unique(value)) > 3


def test_a_weight_becomes_its_nearest_centroid():
    value = np.array([[0.0, 0.9], [2.1, 10.0]], "float32")
    layer = clustering.Clustered(value, stage("cluster(2, init=linear)"), None, False)
    np.testing.assert_array_equal(np.asarray(layer(value)), [[0, 0], [0, 10]])


def test_more_clusters_than_values_are_refused():
    model, _, _ = small("simplenet")
    with pytest.raises(UsageError, match=r"cluster: number: expected at most \d+, .* received 900"):
        clustering.check(model, stage("cluster(900)"))


def test_a_kernel_that_pruning_left_with_few_values_keeps_them():
    """A depthwise kernel may have fewer distinct values than clusters once it is pruned."""
    model, _, x = small("simplenet")
    variable = kernels_of(next(iter(with_kernels(model).values())))[0]
    few = np.random.default_rng(0).choice([0.0, 0.0, 0.5, -0.25], variable.shape).astype("float32")
    variable.assign(few)
    made = fitted(clustering.clustered(model, stage("cluster(8)"), {variable.path}), x)
    made.strip()
    after = ops.convert_to_numpy(variable)
    assert len(np.unique(after)) == 3 and not np.array_equal(after, few)  # trained, and still shared
    np.testing.assert_array_equal(after == 0, few == 0)


def test_pruned_and_shared_weights_are_preserved():
    model, _, x = small("simplenet")
    variables = [v for layer in with_kernels(model).values() for v in kernels_of(layer)]
    pruned, shared = variables[0], variables[1]
    pruned.assign(ops.convert_to_numpy(pruned) * (np.random.default_rng(0).random(pruned.shape) < 0.5))
    shared.assign(np.round(ops.convert_to_numpy(shared) * 4) / 4)
    before = {v.path: ops.convert_to_numpy(v) for v in variables}
    functions = parametrize.preserving(variables, [pruned.path], {shared.path: None})
    fitted(parametrize.Parametrized(model, functions), x).strip()
    after = {v.path: ops.convert_to_numpy(v) for v in variables}
    np.testing.assert_array_equal(after[pruned.path] == 0, before[pruned.path] == 0)
    for level in np.unique(before[shared.path]):
        assert len(np.unique(after[shared.path][before[shared.path] == level])) == 1
    assert not np.array_equal(after[shared.path], before[shared.path])
    assert all(v.trainable for v in variables)


def test_folding_a_normalisation_changes_no_output():
    inputs = keras.Input((8, 8, 2))
    y = layers.Conv2D(4, 3, use_bias=True, name="a")(inputs)
    y = layers.BatchNormalization(name="na")(y)
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="b")(layers.ReLU()(y))
    y = layers.BatchNormalization(center=False, name="nb")(y)
    y = layers.BatchNormalization(name="alone")(layers.Flatten()(y))
    model = keras.Model(inputs, layers.Dense(3, name="c")(y))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    x = rng.normal(size=(5, 8, 8, 2)).astype("float32")
    expected = model.predict(x, verbose=0)
    assert [norm.name for norm in folding.fold_batch_norms(model, x)] == ["na", "nb"]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=2e-5)
    kernel = ops.convert_to_numpy(model.get_layer("b").kernel)
    folding.fold_batch_norms(model, x)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.get_layer("b").kernel), kernel)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_weight_is_rounded_to_the_grid_of_its_channel(bits):
    value = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    value[:, 1] = 0
    largest = 2 ** (bits - 1) - 1
    scale = np.where(np.abs(value).max(0) > 0, np.abs(value).max(0) / largest, 1)
    found = np.asarray(qat.Rounded((-1,), bits)(value))
    np.testing.assert_allclose(found, np.round(value / scale) * scale, atol=1e-6)
    np.testing.assert_allclose(np.asarray(qat.Rounded((-1,), bits)(found)), found, atol=1e-6)


def test_ranges_follow_a_moving_average_of_each_batch():
    model, _, x = small("simplenet")
    points = qat.Points(model, x)
    ranges = qat.calibrated(model, points, x)
    wrapped = qat.Quantized(model, points=points, functions={}, ranges=ranges, momentum=0.9)
    seen = {}
    with points.rounding(lambda name, y: seen.setdefault(name, (min(0.0, float(np.min(y))), float(np.max(y)))) and y):
        model(x[:8] * 0.5)
    wrapped(x[:8] * 0.5, training=True)
    for name, (low, high) in wrapped.final_ranges().items():
        expected = ranges[name] if name == grids.INPUT else None
        if name == "hidden_1":  # the first point: only weights and input are rounded before it
            expected = [0.9 * a + 0.1 * b for a, b in zip(ranges[name], seen[name], strict=True)]
        if expected is not None:
            np.testing.assert_allclose((low, high), expected, rtol=0.02)


def test_inputs_of_relu_and_normalisation_are_rounded_only_after_them():
    # Convolution, normalisation, pooling, activation; the second block has no pooling.
    model, _, x = small("cnn")
    names = [place.name for point in qat.Points(model, x).points for place in point.places if place.name]
    assert "conv_1" not in names and "conv_2" not in names
    assert sum(name.startswith("batchnormalization") for name in names) == 1
    assert {"hidden", "head"} <= set(names)


def test_soft_targets_are_temperature_squared_times_the_divergence():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 6, 4)).astype("float32") * 3
    temperature = 3.0

    def softmax(z):
        e = np.exp(z / temperature - (z / temperature).max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    p, q = softmax(teacher.astype("float64")), softmax(student.astype("float64"))
    expected = temperature**2 * (p * np.log(p / q)).sum(-1).mean()
    assert float(SoftTargets(temperature)(p.astype("float32"), student)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decisions_are_learnt_by_their_divergence(temperature):
    student, teacher = np.random.default_rng(0).normal(0, 3, (2, 6, 4))
    p, q = (1 / (1 + np.exp(-z / temperature)) for z in (teacher, student))
    expected = temperature**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    found = float(SoftDecisions(temperature)(p.astype("float32"), student.astype("float32")))
    assert found == pytest.approx(expected, rel=1e-4)


def test_probabilities_and_logits_teach_the_same():
    inputs = keras.Input((5,))
    logits = [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)]
    shares = [keras.layers.Softmax()(logits[0]), keras.layers.Activation("sigmoid")(logits[1])]
    plain, ended = keras.Model(inputs, logits), keras.Model(inputs, shares)
    teachers = [keras.models.clone_model(plain) for _ in range(2)]
    x = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    config = language.parse("distill(a|b, alpha=0, temperature=2)").distill
    forms = ("classes", "decisions")
    losses = []
    for student, end in ((plain, lambda model: model), (ended, _ended)):
        taught = [Taught(form, student is ended) for form in forms]
        made = Distillation(config, [end(teacher) for teacher in teachers], student, x, taught)
        losses.append(float(made.loss(x, student(x), 0.0)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0] > 0


def _ended(model):
    first, second = model.outputs
    return keras.Model(model.input, [keras.layers.Softmax()(first), keras.layers.Activation("sigmoid")(second)])


def test_student_loss_combines_labels_teachers_and_hidden_layers():
    student, _, x = small("simplenet", units=(6,))
    teacher, _, _ = small("simplenet", units=(9,))
    config = language.parse("distill(a, alpha=0.25, temperature=2, match=hidden_1:hidden_1, weight=0.5)").distill
    made = Distillation(config, [teacher], student, x)
    assert [tuple(p.kernel.shape) for p in made.projections] == [(6, 9)]
    with made.watching_student():
        logits = student(x)
    hidden = [np.asarray(m.hidden[0](x.reshape(len(x), -1))) for m in (student, teacher)]
    mapped = hidden[0] @ ops.convert_to_numpy(made.projections[0].kernel)
    p = ops.softmax(teacher(x) / 2)
    expected = 0.25 * 7 + 0.75 * float(SoftTargets(2.0)(p, logits)) + 0.5 * ((mapped - hidden[1]) ** 2).mean()
    assert float(made.loss(x, logits, 7.0)) == pytest.approx(expected, rel=1e-5)
    assert {id(v) for v in made.trainable_variables} == {id(made.projections[0].kernel)}


def test_probabilities_of_several_teachers_are_averaged():
    student, _, x = small("simplenet", units=(6,))
    teachers = [small("simplenet", units=(n,))[0] for n in (5, 7)]
    made = Distillation(language.parse("distill(a|b, alpha=0, temperature=1)").distill, teachers, student, x)
    p = sum(ops.softmax(t(x)) for t in teachers) / 2
    assert float(made.loss(x, student(x), 0.0)) == pytest.approx(float(SoftTargets(1.0)(p, student(x))), rel=1e-5)


def test_numbers_are_learnt_by_their_differences_relative_to_the_spread_of_the_teacher():
    inputs = keras.Input((3,))

    def model(seed):
        heads = [keras.layers.Dense(n, kernel_initializer=keras.initializers.GlorotUniform(seed + n)) for n in (4, 2)]
        return keras.Model(inputs, {"boxes": heads[0](inputs) * 100, "scores": heads[1](inputs)})

    student, teachers = model(0), [model(10), model(20)]
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    made = Distillation(language.parse("distill(a|b, alpha=0.25)").distill, teachers, student, x, [Taught("numbers")])
    expected = []
    for name in ("boxes", "scores"):
        theirs = np.mean([np.asarray(teacher(x)[name], np.float64) for teacher in teachers], axis=0)
        mine = np.asarray(student(x)[name], np.float64)
        expected.append((((mine - theirs) ** 2).mean(0) / theirs.var(0)).mean())
    assert float(made.loss(x, student(x), 8.0)) == pytest.approx(0.25 * 8 + 0.75 * np.mean(expected), rel=1e-4)


def test_a_teacher_of_numbers_needs_the_outputs_of_the_student():
    x = np.zeros((2, 3), np.float32)
    student, teacher = (keras.Sequential([keras.Input((3,)), keras.layers.Dense(n)]) for n in (2, 3))
    with pytest.raises(UsageError, match=r"outputs of the student's shape \(2,\), received \(3,\)"):
        Distillation(language.parse("distill(a)").distill, [teacher], student, x, [Taught("numbers")])


@pytest.mark.parametrize(
    ("match", "words"),
    [("hiden:hidden_1", ["match=hiden", "did you mean"]), ("hidden_1:nothing", ["match=nothing"])],
)
def test_an_unknown_hidden_layer_is_a_usage_error(match, words):
    student, _, x = small("simplenet")
    with pytest.raises(UsageError) as error:
        Distillation(language.parse(f"distill(a, match={match})").distill, [student], student, x)
    assert all(word in str(error.value) for word in words), error.value


def test_a_student_is_initialised_with_units_of_its_teacher():
    teacher, _, x = small("simplenet", units=(12,))
    student, _, _ = small("simplenet", units=(5,))
    initialise(student, teacher, x)
    theirs = ops.convert_to_numpy(teacher.hidden[0].kernel)
    mine = ops.convert_to_numpy(student.hidden[0].kernel)
    chosen = np.sort(np.argsort(-np.abs(theirs).mean(0), kind="stable")[:5])
    np.testing.assert_array_equal(mine, theirs[:, chosen])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(student.head.kernel), ops.convert_to_numpy(teacher.head.kernel)[chosen]
    )
    with pytest.raises(UsageError, match="init=teacher: expected a teacher with the student's layers"):
        initialise(teacher, student, x)
