"""Standard output and error that outlive their readers: work goes on when nobody can read what it prints."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any


class Lasting:
    """A text stream that becomes a sink when it can no longer be written to.

    A reader that closed its end of a pipe, a full disk and a closed terminal are all reasons. The descriptor is then
    redirected to the null device, so that native code and child processes can write to it as well.

    Args:
        stream: Stream that is written to.
        descriptor: Its file descriptor.

    Attributes:
        lost: First error, if there was one.
    """

    def __init__(self, stream: IO[str], descriptor: int):
        self._stream, self._descriptor = stream, descriptor
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it. Characters that the stream's encoding lacks become escapes."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError as error:
            return self.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except OSError as error:
            self._give_up(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts, or drop them."""
        for line in lines:
            self.write(line)

    def write_bytes(self, content: bytes) -> None:
        """Write bytes as they are, or drop them."""
        self.flush()
        try:
            with open(self._descriptor, "wb", buffering=0, closefd=False) as raw:
                while content:
                    content = content[raw.write(content) :]
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Write what is buffered, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.lost = self.lost or error
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, self._descriptor)
        os.close(sink)
        with contextlib.suppress(OSError):  # what is buffered goes to the null device
            self._stream.flush()

    @property
    def unreadable(self) -> bool:
        """Whether text was lost for another reason than a reader that had seen enough."""
        return self.lost is not None and self.lost.errno != errno.EPIPE


@contextlib.contextmanager
def lasting() -> Iterator[Lasting]:
    """Let standard output and error last for a while, and yield standard output.

    Descriptors 0 to 2 that are closed are opened on the null device: otherwise the next file that is opened would get
    one of them, and messages of native code would be written into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor is this one
    before = sys.stdout, sys.stderr
    output, error = (_lasting(stream, descriptor) for descriptor, stream in ((1, before[0]), (2, before[1])))
    sys.stdout, sys.stderr = output, error
    try:
        yield output
    finally:
        for stream in (output, error):
            stream.flush()
        sys.stdout, sys.stderr = before


def _lasting(stream: IO[str] | None, descriptor: int) -> Lasting:
    if isinstance(stream, Lasting):
        return stream
    return Lasting(stream or open(descriptor, "w", closefd=False), descriptor)  # noqa: SIM115  (lives as long as the process)


def outlasting(prog: str, main: Callable[[], int]) -> int:
    """Run a command while standard output and error last, and return its exit status.

    Args:
        prog: Command, for messages.
        main: Function that returns an exit status or raises SystemExit with one.

    Returns:
        Status of the command. If it is 0 but output was lost for another reason than a reader that had seen enough, 1.
    """
    with lasting() as output:
        try:
            status = main()
        except SystemExit as ended:  # argparse, after --help or a mistake
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except KeyboardInterrupt:
            print(f"{prog}: interrupted", file=sys.stderr)
            status = 130
        output.flush()
        if not status and output.unreadable:
            print(f"{prog}: standard output: {output.lost.strerror}", file=sys.stderr)
            return 1
        return status
