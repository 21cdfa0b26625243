"""Trials of a study, each run by one process, and taken up again under its own number if that process was killed."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna import Study
from optuna.trial import TrialState

# A trial whose process was killed more often than this counts as failed: it may be what ends the process.
RETRIES = 3
KILLS = "kills"


class Claims:
    """Locks in the folder of a search, which the system releases when a process ends.

    Args:
        study: Study that processes share.
        folder: Folder of the search.
    """

    def __init__(self, study: Study, folder: Path):
        self._study, self._folder = study, folder
        self._prefix = f".trial-{hashlib.sha256(study.study_name.encode()).hexdigest()[:8]}"
        with self._asking:
            for path in folder.glob(f"{self._prefix}-*.lock"):
                if _free(FileLock(path)):
                    path.unlink()

    @contextlib.contextmanager
    def next(self) -> Iterator[Any]:
        """Yield the next optuna.Trial: one that was interrupted or waits, or a new one.

        A trial that is not told to the study inside waits again.
        """
        with self._asking:
            self._take_up()
            trial = self._study.ask()
            lock = self._lock(trial.number)
            lock.acquire()
        try:
            yield trial
        finally:
            with self._asking:
                if self._study.trials[trial.number].state == TrialState.RUNNING:
                    self._set(trial, TrialState.WAITING)
                lock.release()
                Path(lock.lock_file).unlink(missing_ok=True)

    @property
    def _asking(self) -> FileLock:
        return FileLock(self._folder / f"{self._prefix}.lock")

    def _lock(self, number: int) -> FileLock:
        return FileLock(self._folder / f"{self._prefix}-{number}.lock")

    def _take_up(self) -> None:
        """Let trials of killed processes wait again, with the choices that they have."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _free(self._lock(trial.number)):
                continue
            kills = trial.user_attrs.get(KILLS, 0) + 1
            self._study._storage.set_trial_user_attr(trial._trial_id, KILLS, kills)
            if kills > RETRIES:
                why = f"its process was killed {kills} times"
                self._study._storage.set_trial_user_attr(trial._trial_id, "failed", why)
            self._set(trial, TrialState.FAIL if kills > RETRIES else TrialState.WAITING)

    def _set(self, trial: Any, state: TrialState) -> None:
        """Set the state of a trial, which Optuna's study can only finish."""
        self._study._storage.set_trial_state_values(trial._trial_id, state)


def _free(lock: FileLock) -> bool:
    """Return whether no process holds a lock."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True
