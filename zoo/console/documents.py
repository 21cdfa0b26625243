"""JSON that a user gives. However it is damaged, it ends in one sentence. Standard library only."""

import json
import math
from typing import Any

from zoo.console.errors import UsageError


def from_json(content: str | bytes, where: str) -> Any:
    """Return the value of a JSON text.

    Args:
        content: Text, or its bytes in UTF-8.
        where: File, and line if there are several, for the message.

    Raises:
        UsageError: The text is not JSON or not UTF-8, is nested too deeply for Python, or has a number of more digits
            than Python reads.
    """
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}: expected JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from None
    except RecursionError:
        raise UsageError(f"{where}: expected JSON, received lists or objects that are nested too deeply") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: expected JSON in UTF-8, received another byte at offset {error.start}") from None
    except ValueError:  # sys.set_int_max_str_digits
        raise UsageError(f"{where}: expected JSON, received a number with too many digits") from None


def text_of(value: Any, where: str) -> str:
    """Return a value of JSON, a text or a number, as text.

    Args:
        value: Value to write.
        where: File, line and key, for the message.

    Raises:
        UsageError: A list, an object, NaN or an infinite number.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        what = "a list" if isinstance(value, list) else "an object"
        raise UsageError(f"{where}: expected a text or a number, received {what}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: expected a text or a finite number, received {value}")
    return str(value)
