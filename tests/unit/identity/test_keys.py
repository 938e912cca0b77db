import base64

import pytest

from penstock.errors import Invalid
from penstock.identity.keys import Keys, Unreadable, encode_key

OLD, NEW = encode_key(b"o" * 32), encode_key(b"n" * 32)
NONCE = b"123456789012"


def test_the_first_key_encrypts_and_all_decrypt():
    old, both = Keys.parse(OLD), Keys.parse(f"{NEW},\n{OLD}\n")
    sealed = old.seal("hunter2", "t/secret/X", NONCE)
    assert both.newest == Keys.parse(NEW).newest != old.newest
    assert both.open(old.newest, sealed, "t/secret/X") == "hunter2"
    assert both.open(both.newest, both.seal("ü", "t/secret/X", NONCE), "t/secret/X") == "ü"
    assert "hunter2" not in base64.b64decode(sealed).decode("latin-1")


def test_what_was_encrypted_for_one_place_cannot_be_read_in_another():
    keys = Keys.parse(OLD)
    sealed = keys.seal("x", "t/secret/X", NONCE)
    for of in ("t/secret/Y", "u/secret/X", ""):
        with pytest.raises(Unreadable):
            keys.open(keys.newest, sealed, of)


def test_a_changed_value_and_a_key_that_is_gone_are_told_apart():
    keys = Keys.parse(OLD)
    sealed = keys.seal("x", "p", NONCE)
    changed = base64.b64encode(base64.b64decode(sealed)[:-1] + b"?").decode()
    for bad in (changed, "", "!", sealed[:8]):
        with pytest.raises(Unreadable, match="changed"):
            keys.open(keys.newest, bad, "p")
    with pytest.raises(Unreadable, match="not configured"):
        Keys.parse(NEW).open(keys.newest, sealed, "p")


def test_either_alphabet_of_base64_is_read():
    key = bytes([0xFB, 0xEF, 0xFF] * 10 + [1, 2])
    assert Keys.parse(base64.urlsafe_b64encode(key).decode().rstrip("=")).newest == Keys.parse(encode_key(key)).newest


@pytest.mark.parametrize("text", ["", " , ", "short", OLD + "x", "ü" * 43, f"{OLD},abc"])
def test_what_is_no_key_is_refused_and_not_shown(text):
    with pytest.raises(Invalid) as caught:
        Keys.parse(text)
    assert OLD not in str(caught.value)
    assert "short" not in str(caught.value)


def test_fingerprints_tell_equal_from_other_and_need_the_key():
    keys = Keys.parse(OLD)
    assert keys.fingerprint("a") == keys.fingerprint("a") != keys.fingerprint("b")
    assert keys.fingerprint("a") != Keys.parse(NEW).fingerprint("a")
