"""A side for the tests of rounds. It counts up from its number on each request; `mute` exits before it is ready."""

import itertools
import sys

from benchmarks import rounds

if __name__ == "__main__":
    name, first = sys.argv[1:]
    if name == "mute":
        sys.exit(3)
    print("a line of a library")
    values = itertools.count(int(first))
    rounds.serve(lambda: next(values), parameters=7)
