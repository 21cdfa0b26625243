"""A child that wants 8 GiB."""

import numpy as np

from compression import child

if __name__ == "__main__":
    child.serve(lambda job: float(np.ones(1 << 30).sum()))
