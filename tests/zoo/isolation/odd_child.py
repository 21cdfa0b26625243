"""Child jobs that request 8 GiB, exceed their time limit, exit early or kill their server."""

import os
import time

import numpy as np


def work(job):
    if job == "want":
        return float(np.ones(1 << 30).sum())
    if job == "sleep":
        time.sleep(60)
    if job == "end":
        os._exit(7)
    if job == "kill the server":
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return os.getpid()
