"""How values are compared; rows that follow data are in tests/engines/test_commands.py."""

import pytest

from penstock.store.search import LONGEST, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("x" * 300, "x" * LONGEST),
        (5, "5"),
        (5.0, "5"),
        (5.5, "5.5"),
        (True, "true"),
        (False, "false"),
        (-0.0, "0"),
        (1e300, str(int(1e300))),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_values_are_compared_as_text(value, text):
    assert text_of(value) == (text if text is None else text[:LONGEST])
