"""Tokens in files: whose they are, how long they are good, and what is never in them."""

from __future__ import annotations

import json
import os
import stat
import threading

import pytest

from penstock.client import Grant
from penstock.client.token_cache import OLD, TokenCache, write_private

URL = "http://127.0.0.1:8080"
APP = Grant(client_id="app", client_secret="the-secret")
ANA = Grant(email="ana@example.com", password="correct horse")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(tmp_path, clock):
    return TokenCache(tmp_path / "deep" / "tokens", clock)


def files(tmp_path):
    return sorted((tmp_path / "deep" / "tokens").iterdir())


@pytest.mark.parametrize("grant", [APP, ANA])
def test_a_token_is_kept_until_it_ends(cache, clock, grant):
    kept = cache.of(URL, grant)
    assert kept.load() is None
    kept.save("T", 60)
    assert cache.of(URL + "/", grant).load() == ("T", 60)
    clock.now += 59
    assert kept.load() == ("T", 1)
    clock.now += 1
    assert kept.load() is None


def test_a_file_is_its_owners_alone_and_holds_no_secret(cache, tmp_path):
    cache.of(URL, APP).save("T", 60)
    cache.of(URL, ANA).save("U", 60)
    assert len(files(tmp_path)) == 2
    for each in files(tmp_path):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        assert stat.S_IMODE(each.parent.stat().st_mode) == 0o700
        assert "the-secret" not in each.read_text()
        assert "correct horse" not in each.read_text()


@pytest.mark.parametrize(
    ("url", "grant"),
    [
        ("http://127.0.0.1:8081", APP),
        (URL, Grant(client_id="other", client_secret="the-secret")),
        (URL, Grant(client_id="app", client_secret="another")),
        (URL, Grant(email="app", password="the-secret")),
    ],
)
def test_a_token_is_for_who_shows_the_same_again_to_the_same_server(cache, url, grant):
    cache.of(URL, APP).save("T", 60)
    assert cache.of(url, grant).load() is None


def test_a_password_that_is_wrong_gets_no_token(cache):
    cache.of(URL, ANA).save("T", 60)
    assert cache.of(URL, Grant(email="ana@example.com", password="correct hors")).load() is None
    assert cache.of(URL, ANA).load() == ("T", 60)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"url": 1}'])
def test_what_cannot_be_read_is_not_there_and_written_over(cache, tmp_path, content):
    kept = cache.of(URL, APP)
    kept.save("T", 60)
    files(tmp_path)[0].write_bytes(content)
    assert kept.load() is None
    kept.save("U", 60)
    assert kept.load() == ("U", 60)


def test_a_file_that_others_could_have_written_is_not_believed(cache, tmp_path):
    kept = cache.of(URL, APP)
    kept.save("T", 60)
    files(tmp_path)[0].chmod(0o644)
    assert kept.load() is None


def test_what_was_dropped_is_gone(cache, tmp_path):
    kept = cache.of(URL, APP)
    kept.drop()
    kept.save("T", 60)
    kept.drop()
    assert kept.load() is None
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_no_trouble(tmp_path):
    (tmp_path / "file").write_text("")
    kept = TokenCache(tmp_path / "file" / "tokens").of(URL, APP)
    kept.save("T", 60)
    assert kept.load() is None
    kept.drop()


def test_files_that_nobody_wrote_for_long_are_swept(cache, clock, tmp_path):
    cache.of(URL, APP).save("T", 60)
    [old] = files(tmp_path)
    os.utime(old, (0, 0))
    clock.now = OLD + 10.0
    cache.of(URL, ANA).save("U", 60)
    assert old not in files(tmp_path)
    assert len(files(tmp_path)) == 1


def test_many_writers_leave_one_whole_entry(cache, tmp_path):
    kept, seen = cache.of(URL, APP), []
    kept.save("T0", 60)

    def work(number):
        for _ in range(50):
            kept.save(f"T{number}", 60)
            seen.append(kept.load())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(seen) == 200
    assert all(found is not None and found[0] in {"T0", "T1", "T2", "T3"} for found in seen)
    assert len(files(tmp_path)) == 1


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_private(path, b'{"a": 1}')

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b'{"a": 2}')
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
