"""Speed up the first int8 convolution of greyscale images by turning kernel columns into channels.

XNNPACK multiplies int8 values in groups of eight input channels and pads missing channels with zeros. For an image with
one channel, seven of eight products are with padding: the first layer took half of the time of a whole cnn. This
rewrite stacks copies of the image as channels, one per kernel column, each shifted by one pixel (im2col along rows
only). A 3 x 3 kernel then needs three groups per output instead of nine. The outputs are the same integers.
"""

from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import editing, flatbuffer

# Minimum bytes of constants for the rewrite: the added operators take 900 to 1,500 bytes, so 2 % at most.
SMALLEST = 75_000
Operators = schema.BuiltinOperator


def unfold(path: Path, smallest: int = SMALLEST) -> bool:
    """Rewrite a .tflite file if that pays off, and return whether it was rewritten; outputs stay bit-identical.

    Args:
        path: Path of the file.
        smallest: Minimum number of bytes of constants for the rewrite.
    """
    model = flatbuffer.read(path)
    graph = model.subgraphs[0]
    convolution = next((op for op in graph.operators if flatbuffer.code(model, op) == Operators.CONV_2D), None)
    constants = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    if convolution is None or constants < smallest or not _worthwhile(graph, convolution):
        return False
    _rewrite(model, graph, convolution)
    flatbuffer.write(model, path)
    return True


def _worthwhile(graph: schema.SubGraphT, convolution: schema.OperatorT) -> bool:
    image, kernel = (graph.tensors[i] for i in convolution.inputs[:2])
    options = convolution.builtinOptions
    return (
        {image.type, kernel.type} == {schema.TensorType.INT8}
        and (image.shape[0], image.shape[3]) == (1, 1)
        and (image.shapeSignature is None or min(image.shapeSignature) > 0)
        and kernel.shape[2] > 1
        and options.padding == schema.Padding.VALID
        and options.dilationWFactor == 1
        # A kernel that another operator reads must keep its shape.
        and sum(convolution.inputs[1] in op.inputs for op in graph.operators) == 1
    )


def _rewrite(model: schema.ModelT, graph: schema.SubGraphT, convolution: schema.OperatorT) -> None:
    image, kernel = (graph.tensors[i] for i in convolution.inputs[:2])
    _, height, width, _ = map(int, image.shape)
    filters, rows, columns, _ = map(int, kernel.shape)
    left = width - columns + 1

    def add(code: int, inputs: list[int], options: Any, shape: tuple[int, ...]) -> int:
        """Insert an operator before the convolution, and return the index of its output."""
        output = editing.activation(graph, image, shape, f"/unfold_{len(graph.tensors)}")
        made = editing.operator(model, code, inputs, [output], options)
        graph.operators.insert(graph.operators.index(convolution), made)
        return output

    size = editing.constant(model, graph, (1, height, left, 1), "unfold")
    shifted = []
    for column in range(columns):
        inputs = [convolution.inputs[0], editing.constant(model, graph, (0, 0, column, 0), "unfold"), size]
        shifted.append(add(Operators.SLICE, inputs, schema.SliceOptionsT(), (1, height, left, 1)))
    # Concatenating whole images and transposing once is faster than concatenating along the channel axis.
    joined = add(Operators.CONCATENATION, shifted, schema.ConcatenationOptionsT(), (columns, height, left, 1))
    order = editing.constant(model, graph, (3, 1, 2, 0), "unfold")
    channels = add(Operators.TRANSPOSE, [joined, order], schema.TransposeOptionsT(), (1, height, left, columns))
    convolution.inputs = [channels, *convolution.inputs[1:]]
    kernel.shape, kernel.shapeSignature = [filters, rows, 1, columns], None
