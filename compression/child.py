"""Work that can crash, in a child process: a segmentation fault there is one sentence here.

The TFLite converter and interpreter are native code that damaged or unusual input brings down. A module that runs as
a child ends with `child.serve(work)`; the parent calls `child.run(module, job)` and gets what `work(job)` returned.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import Failed

ROOT = Path(__file__).parent.parent
# Of an error's text: a converter's goes on for pages.
MOST_CHARACTERS = 20_000


def run(module: str, job: Mapping[str, Any], *, seconds: float, memory_bytes: int | None = None) -> Any:
    """Run `module` on a job in a child process and return its result.

    Args:
        module: one that ends with `serve`.
        job: JSON-able; large arrays go by path.
        seconds: after which the child is killed.
        memory_bytes: of address space that the child may use, where the operating system can limit it.

    Raises:
        Failed: the child crashed, took too long, or raised.
    """
    with tempfile.TemporaryDirectory() as folder:
        job_file, result_file = Path(folder) / "job.json", Path(folder) / "result.json"
        job_file.write_text(json.dumps({"job": job, "memory_bytes": memory_bytes}, default=str), encoding="utf-8")
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    [sys.executable, "-m", module, str(job_file), str(result_file)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    timeout=seconds,
                )
            except subprocess.TimeoutExpired:
                raise Failed(f"stopped after its limit of {seconds:g} s") from None
            if result_file.is_file():
                result = json.loads(result_file.read_text(encoding="utf-8"))
                if "error" in result:
                    raise Failed(result["error"])
                return result["value"]
            raise Failed(_ended(done.returncode, output))


def _ended(code: int, output: Any) -> str:
    if code < 0:
        return f"the process crashed ({signal.Signals(-code).name})"
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return f"the process ended with status {code}: {lines[-1] if lines else 'no message'}"


def serve(work: Callable[[dict[str, Any]], Any]) -> None:
    """Be the child: read the job that the command line names, do the work, write its result or its error."""
    job_file, result_file = map(Path, sys.argv[1:3])
    order = json.loads(job_file.read_text(encoding="utf-8"))
    if order["memory_bytes"]:
        _limit_memory(order["memory_bytes"])
    try:
        result = {"value": work(order["job"])}
    except Exception as error:  # the boundary of the process: the parent raises it again as one sentence
        result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_CHARACTERS]}"}
    temporary = result_file.with_suffix(".writing")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(result_file)
    # Native libraries may crash while they are torn down; the result is written, so nothing is left to do.
    os._exit(0)


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
