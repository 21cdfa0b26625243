"""Data sets and their batches: TFDS sets, files, embedded sets, and the order of training examples.

Every source is read into a `Dataset` of numpy arrays. Where the source allows it, data is read and checked before
TensorFlow is imported.
"""

from zoo.data.dataset import Captions, Dataset, DataSpec, Split, from_tf_data
from zoo.data.load import load

__all__ = ["Captions", "DataSpec", "Dataset", "Split", "from_tf_data", "load"]
