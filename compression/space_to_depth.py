"""The first convolution of grey images, computed on blocks of 2 x 2 pixels: the same integers, sooner.

XNNPACK multiplies int8 numbers in groups of eight input channels, or of four, and fills up with zeros what is missing.
Of an image with one channel seven in eight products are of such zeros: a first layer took half of the time of a whole
cnn. Here SPACE_TO_DEPTH turns each block into channels, and a kernel with four times as many filters, laid on blocks,
gives the four outputs of a block beside each other, from which the pool behind it takes the largest.
"""

import copy
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression import flatbuffer
from zoo.errors import UsageError

BLOCK = 2
PIXELS = BLOCK * BLOCK
# With three, 2 x 2 pixels are twelve channels, which are filled up as well.
MOST_CHANNELS = 2
Operators = schema.BuiltinOperator


def rewrite(path: Path) -> None:
    """Rewrite a .tflite file of integers, so that it gives the same outputs, bit by bit.

    Raises:
        UsageError: it has no convolution that this can be done to.
    """
    model = flatbuffer.read(path)
    graph = model.subgraphs[0]
    _rewrite(model, graph, *_found(model, graph))
    flatbuffer.write(model, path)


def check(path: Path) -> None:
    """Raise UsageError unless a .tflite file has a convolution that `rewrite` can be done to, in any precision."""
    model = flatbuffer.read(path)
    _found(model, model.subgraphs[0])


def _found(model: schema.ModelT, graph: schema.SubGraphT) -> tuple[schema.OperatorT, schema.OperatorT]:
    """Return the first convolution and the pool behind it."""
    convolution = next((op for op in graph.operators if flatbuffer.code(model, op) == Operators.CONV_2D), None)
    reason = "this model has no convolution" if convolution is None else _against(model, graph, convolution)
    if reason:
        raise UsageError(
            f"--recipe int8(space_to_depth=true): expected a first convolution of at most {MOST_CHANNELS} channels, an"
            f" even number of rows and columns, stride 1 and no padding, with a pool of 2 x 2 behind it; {reason}"
        )
    return convolution, _readers(graph, convolution)[0]


def _against(model: schema.ModelT, graph: schema.SubGraphT, convolution: schema.OperatorT) -> str | None:
    _, height, width, channels = graph.tensors[convolution.inputs[0]].shape
    options = convolution.builtinOptions
    valid = schema.Padding.VALID
    if channels > MOST_CHANNELS:
        return f"it has {channels} channels"
    if height % BLOCK or width % BLOCK:
        return f"its input is {height} x {width}"
    if {options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor} != {1}:
        return f"it has a stride of {options.strideH} x {options.strideW} or holes in its kernel"
    if options.padding != valid:
        return "it has padding"
    readers = _readers(graph, convolution)
    if len(readers) != 1 or flatbuffer.code(model, readers[0]) != Operators.MAX_POOL_2D:
        return "what follows it is no pool"
    pool = readers[0].builtinOptions
    sizes = {pool.filterHeight, pool.filterWidth, pool.strideH, pool.strideW}
    return None if sizes == {BLOCK} and pool.padding == valid else "its pool is another"


def _readers(graph: schema.SubGraphT, operator: schema.OperatorT) -> list[schema.OperatorT]:
    return [other for other in graph.operators if operator.outputs[0] in other.inputs]


def _rewrite(
    model: schema.ModelT, graph: schema.SubGraphT, convolution: schema.OperatorT, pool: schema.OperatorT
) -> None:
    image, kernel, bias = (graph.tensors[i] for i in convolution.inputs)
    made, pooled = graph.tensors[convolution.outputs[0]], graph.tensors[pool.outputs[0]]
    batch, height, width, filters = map(int, pooled.shape)
    _, rows, columns, channels = map(int, image.shape)

    blocks = _like(graph, image, (batch, rows // BLOCK, columns // BLOCK, PIXELS * channels), "blocks")
    split = _operator(model, Operators.SPACE_TO_DEPTH, [convolution.inputs[0]], [blocks])
    split.builtinOptionsType = schema.BuiltinOptions.SpaceToDepthOptions
    split.builtinOptions = schema.SpaceToDepthOptionsT(blockSize=BLOCK)

    convolution.inputs = [blocks, *convolution.inputs[1:]]
    _set(model, kernel, _laid_on_blocks(_data(model, kernel, np.int8)))
    _set(model, bias, np.tile(_data(model, bias, np.int32), PIXELS))
    made.shape, made.shapeSignature = [batch, height, width, PIXELS * filters], None

    beside = _like(graph, made, (batch, height * width, PIXELS, filters), "beside")
    largest = _like(graph, pooled, (batch, height * width, 1, filters), "largest")
    pool.inputs, end, pool.outputs = [beside], pool.outputs[0], [largest]
    options = pool.builtinOptions
    options.filterHeight = options.strideH = 1
    options.filterWidth = options.strideW = PIXELS

    place = graph.operators.index(convolution)
    graph.operators.insert(place, split)
    graph.operators.insert(place + 2, _reshape(model, graph, convolution.outputs[0], beside))
    graph.operators.insert(graph.operators.index(pool) + 1, _reshape(model, graph, largest, end))


def _laid_on_blocks(kernel: np.ndarray) -> np.ndarray:
    """Return (pixels * filters, height, width, pixels * channels), in blocks, of (filters, height, width, channels)."""
    filters, height, width, channels = kernel.shape
    size = [-(-(side + BLOCK - 1) // BLOCK) for side in (height, width)]
    made = np.zeros((BLOCK, BLOCK, filters, size[0], BLOCK, size[1], BLOCK, channels), kernel.dtype)
    for down, right in np.ndindex(BLOCK, BLOCK):  # where the output is in its block
        for i, j in np.ndindex(height, width):
            (y, inside_y), (x, inside_x) = divmod(down + i, BLOCK), divmod(right + j, BLOCK)
            made[down, right, :, y, inside_y, x, inside_x] = kernel[:, i, j]
    return made.transpose(0, 1, 2, 3, 5, 4, 6, 7).reshape(PIXELS * filters, *size, PIXELS * channels)


def _data(model: schema.ModelT, tensor: schema.TensorT, kind: type) -> np.ndarray:
    return np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(kind).reshape(tensor.shape)


def _set(model: schema.ModelT, tensor: schema.TensorT, values: np.ndarray) -> None:
    """Give a constant four times as many filters, each with the scale of the one that it is of."""
    tensor.buffer = _buffer(model, values)
    tensor.shape, tensor.shapeSignature = list(values.shape), None
    found = tensor.quantization
    if len(found.scale) > 1:
        found.scale, found.zeroPoint = np.tile(found.scale, PIXELS), np.tile(found.zeroPoint, PIXELS)


def _buffer(model: schema.ModelT, values: np.ndarray) -> int:
    made = schema.BufferT()
    made.data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    model.buffers.append(made)
    return len(model.buffers) - 1


def _like(graph: schema.SubGraphT, tensor: schema.TensorT, shape: tuple[int, ...], what: str) -> int:
    """Add a tensor of another shape with the numbers of one, and return its index."""
    made = copy.copy(tensor)
    made.shape, made.shapeSignature, made.buffer = list(shape), None, 0
    made.name = b"%s/%s" % (tensor.name or b"", what.encode())
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _reshape(model: schema.ModelT, graph: schema.SubGraphT, source: int, target: int) -> schema.OperatorT:
    shape, to = schema.TensorT(), graph.tensors[target].shape
    shape.type, shape.shape, shape.name = schema.TensorType.INT32, [len(to)], b"shape"
    shape.buffer = _buffer(model, np.array(to, np.int32))
    graph.tensors.append(shape)
    made = _operator(model, Operators.RESHAPE, [source, len(graph.tensors) - 1], [target])
    made.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    made.builtinOptions = schema.ReshapeOptionsT(newShape=list(to))
    return made


def _operator(model: schema.ModelT, code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    known = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    if code not in known:
        added = schema.OperatorCodeT()
        added.builtinCode = added.deprecatedBuiltinCode = code
        added.version = 1
        model.operatorCodes.append(added)
        known.append(code)
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = known.index(code), inputs, outputs
    return made
