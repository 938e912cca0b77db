import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Invalid
from penstock.web.paging import decode_cursor, encode_cursor

KEY = b"k" * 32
Position = tuple[int, str]


@given(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text()))
def test_a_cursor_comes_back(position):
    cursor = encode_cursor(KEY, "things", position)
    assert cursor.isascii()
    assert decode_cursor(KEY, "things", cursor, Position) == position


@given(st.text(max_size=80))
def test_anything_else_is_refused(text):
    with pytest.raises(Invalid) as caught:
        decode_cursor(KEY, "things", text, Position)
    assert caught.value.problems[0].pointer == "cursor"


def test_a_cursor_of_another_list_key_or_form_is_refused():
    good = encode_cursor(KEY, "things", (1, "a"))
    data = bytearray(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
    data[-1] ^= 1
    bad = base64.urlsafe_b64encode(bytes(data)).rstrip(b"=").decode()
    for key, scope, cursor, kind in [
        (b"x" * 32, "things", good, Position), (KEY, "others", good, Position), (KEY, "things", bad, Position),
        (KEY, "things", good, int), (KEY, "things", good[:-4], Position), (KEY, "things", "A" * 5000, Position),
        (KEY, "things", good + "\n", Position), (KEY, "things", good + "ü", Position),
    ]:  # fmt: skip
        with pytest.raises(Invalid):
            decode_cursor(key, scope, cursor, kind)
