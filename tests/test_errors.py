"""What a refusal says can be printed anywhere."""

import pytest

from decodeloop.errors import UserError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ½ 🦙 \u200d", "plain, ½ 🦙 \u200d"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\x9b2J\x7f\r\0\a", "\\u009b2J\\u007f\\u000d\\u0000\\u0007"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_characters_are_shown_by_their_numbers(text, shown):
    assert printable(text) == shown
    assert str(UserError(f"no {text}.")) == f"no {shown}."
    assert printable(text).encode("utf-8")
