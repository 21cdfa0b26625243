"""Parsing of counts, byte sizes and durations."""

import pytest

from zoo.console.errors import UsageError
from zoo.console.values import Bytes, Count, Seconds, parse


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        *((Count, text, n) for text, n in (("17", 17), ("50k", 50_000), ("50K", 50_000), ("1.2M", 1_200_000))),
        *((Count, text, n) for text, n in (("0.7m", 700_000), ("3G", 3_000_000_000), (".5k", 500))),
        *((Bytes, text, n) for text, n in (("20000", 20_000), ("20k", 20_000), ("20kB", 20_000), ("20KiB", 20_480))),
        *((Bytes, text, n) for text, n in (("1.5M", 1_500_000), ("2MiB", 2_097_152), ("9b", 9))),
        *((Seconds, text, n) for text, n in (("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("3min", 180))),
    ],
)
def test_an_amount_is_what_it_says_to_the_last_digit(kind, text, number):
    assert parse("--option", text, kind) == number


@pytest.mark.parametrize("kind", [Count, Bytes, Seconds])
@pytest.mark.parametrize("text", ["20q", "", "k", "-3", "1e6", "1.2.3k", "5 k", "k5"])
def test_what_is_no_amount_is_refused_with_what_is_one(kind, text):
    expected = {Count: "a number such as 50000, 50k", Bytes: "20KiB or 1.5M", Seconds: "a time such as 90s, 30m or 2h"}
    with pytest.raises(UsageError) as refused:
        parse("--option", text, kind)
    assert expected[kind] in str(refused.value) and f"received {text!r}" in str(refused.value)


@pytest.mark.parametrize(("kind", "text", "expected"), [
    (float, "1e400", "a number that is finite and has at most 64 bits, received '1e400'"),
    (float, "nan", "a number that is finite"),
    (float, "-inf", "a number that is finite"),
    (int, str(2**70), "an integer that is finite and has at most 64 bits, received '1180591620717411303424'"),
    (int, "9" * 5000, "an integer, received '9{59}... of 5,002 characters"),
    (tuple[float, ...], "0,1e400", "a number that is finite"),
    (Count, "9" * 40, "a number such as .* that is finite and has at most 64 bits"),
    (Seconds, "9" * 400, "a time such as .* that is finite"),
])  # fmt: skip
def test_numbers_that_a_cast_would_change_are_refused(kind, text, expected):
    with pytest.raises(UsageError, match=f"--option: expected {expected}"):
        parse("--option", text, kind)


def test_a_message_that_repeats_a_huge_name_is_cut():
    text = str(UsageError("a.csv: expected a column, received " + "x" * 99_965))
    assert text.startswith("a.csv: expected a column") and text.endswith("xxx... (100,000 characters)")
    assert len(text) < 2100


def test_colours_of_a_quoted_error_are_left_out():
    from zoo.console.errors import UsageError

    assert str(UsageError("the model says \x1b[1mInvalid input\x1b[0m")) == "the model says Invalid input"
