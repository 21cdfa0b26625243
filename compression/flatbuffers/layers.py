"""Names of layers in the names of a file's tensors. Standard library only."""

import re
from collections.abc import Sequence

# Parts of a name that stand for operations.
_NO_LAYER = ("while", "BiasAdd", "ReadVariableOp")


def layers_of(names: Sequence[str]) -> list[str]:
    """Return the layer in each tensor's name: conv_1 in `cnn_1/conv_1_1/convolution`.

    A fused operator has several names, and the last one belongs to the layer with the weights. The first part of a name
    is the model, the last one the operation. Tracing appends a number to every part, which is left out unless layers
    would have the same name without it.
    """
    found = [tuple(p for p in name.rpartition(";")[2].split("/")[1:-1] if p not in _NO_LAYER) for name in names]
    plain = {each: tuple(re.sub(r"_\d+$", "", part) for part in each) for each in found}
    if len(set(plain.values())) < len(plain):  # the numbers tell layers apart
        plain = {each: each for each in found}
    return ["/".join(plain[each]) or "(other)" for each in found]
