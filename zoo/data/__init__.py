"""From a name or a path to arrays: TFDS, own files, embedded sets, and the order they are trained in.

Every source ends in the same form, a `Dataset` of numpy arrays, read and checked before TensorFlow is
needed wherever the source allows it.
"""

from zoo.data.dataset import Captions, Dataset, DataSpec, Split, from_tf_data
from zoo.data.load import load

__all__ = ["Captions", "DataSpec", "Dataset", "Split", "from_tf_data", "load"]
