from compression.receipts.wording import left_in_float


def receipt(recipe, *tensors):
    rows = [{"type": kind, "shape": shape, "elements": elements} for kind, shape, elements in tensors]
    return {"made": {"recipe": recipe}, "constants": rows}


def test_what_dynamic_leaves_in_float_is_said():
    weights = ("int8", [30, 100], 3000), ("float32", [10, 100], 1000), ("float32", [10], 10)
    said = "1 of 2 tensors of weights stayed in float32, 25.0% of the values"
    assert left_in_float(receipt("dynamic", *weights)) == said
    assert left_in_float(receipt("prune(0.5) + dynamic(skip=head)", *weights)) == said
    assert left_in_float(receipt("dynamic", weights[0], weights[2])) == ""
    assert left_in_float(receipt("int8(skip=head)", *weights)) == ""
