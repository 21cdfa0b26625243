"""Child jobs that request 8 GiB, exceed their time limit, exit early, tell how far they are, kill or outlive others."""

import os
import time
from pathlib import Path

import numpy as np

from zoo.console import progress


def work(job):
    if job == "want":
        return float(np.ones(1 << 30).sum())
    if job == "sleep":
        time.sleep(60)
    if isinstance(job, dict):  # say who is here, and stay
        Path(job["pids"]).write_text(f"{os.getpid()} {os.getppid()}")
        time.sleep(90)
    if job == "tell":
        progress.part(2, 5, "layers")
        time.sleep(3 * progress.INTERVAL)
    if job == "end":
        os._exit(7)
    if job == "kill the server":
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return os.getpid()
