"""A program that says its words and waits."""

import sys
import time

print(*sys.argv, flush=True)
time.sleep(60)
