"""The reader of pages is strict: what a page says and does not happen is told. So is what it leaves behind: nothing."""

import os
import textwrap
import time
from pathlib import Path

import pytest

from docs import pages
from docs.reader import Reader
from docs.terminals import Told, first_missing


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a page of these lines; `~~~` is a fence."""
    monkeypatch.setattr("docs.terminals.tracked", lambda: ["README.md"])

    def run(text, **places):
        reader = Reader(tmp_path, places)
        try:
            reader.reads(pages.parse("page.md", textwrap.dedent(text).replace("~~~", "```")))
        finally:
            reader.end()

    return run


def test_blocks_go_on_in_one_terminal(read):
    read("""
        ~~~sh
        export A=1
        b=2
        mkdir -p below && cd below
        sleep 60 &
        ~~~
        ~~~sh
        test "$A$b" = 12
        test "$(basename "$PWD")" = below
        kill %1
        echo done
        ~~~
        ~~~text
        done
        ~~~
        """)


def test_what_stays_has_a_terminal_of_its_own_until_ctrl_c(read):
    read("""
        ~~~sh
        export MINE=1
        ~~~
        ~~~sh stays
        trap 'echo ended > ended; exit 0' INT
        echo "ready ${MINE-without}"
        while true; do sleep 0.05; done
        ~~~
        ~~~text
        ready without
        ~~~
        ~~~sh
        test ! -e ended
        ~~~

        <!-- Ctrl-C -->

        ~~~sh
        cat ended
        ~~~
        """)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("~~~sh\nfalse\ntrue\n~~~", "page.md:1: exit code 1"),
        ("~~~sh\nfalse | true\n~~~", "exit code 1"),
        ("~~~sh\nexit 3\n~~~", "exit code 3"),
        ("~~~sh fails\nfalse\ntrue\n~~~", "is meant to fail"),
        ("~~~sh\necho one\n~~~\n~~~text\ntwo\n~~~", "no line 'two'"),
        ("~~~sh\necho two; echo one\n~~~\n~~~text\none\ntwo\n~~~", "no line 'two'"),
        ("~~~sh fails\necho one; false\n~~~\n\nand says\n\n~~~text\ntwo\n~~~", "no line 'two'"),
        ("~~~sh stays\nsleep 60\n~~~", "say in a text block"),
        ("~~~sh stays\nexit 4\n~~~\n~~~text\nready\n~~~", "ended with 4"),
        ("~~~sh stays\necho ready\ntrap '' INT; sleep 0.2; exit 5\n~~~\n~~~text\nready\n~~~", "ended with 5"),
    ],
)
def test_what_does_not_happen_is_told(read, text, told):
    with pytest.raises(Told, match=told):
        read(text)


def test_a_block_has_its_time(read, monkeypatch):
    monkeypatch.setattr("docs.reader.LONG", {"sleep": 0.3})
    with pytest.raises(Told, match="not done within"):
        read("~~~sh\nsleep 30\n~~~")


def test_places_are_put_in_and_nothing_else(read):
    read(
        "~~~sh\necho :8080 18080\n~~~\n~~~text\n:8080 18080\n~~~\n~~~sh\ntest $(echo 80''80) != 1234\n~~~",
        **{"8080": "1234"},
    )


def test_nothing_is_left_running(read, tmp_path, monkeypatch):
    monkeypatch.setattr("docs.terminals.PATIENCE", 0.3)
    with pytest.raises(Told):
        read(f"""
            ~~~sh
            (trap '' TERM; echo $BASHPID > {tmp_path}/pid; while true; do sleep 0.1; done) &
            sleep 60 & echo $! > {tmp_path}/other
            while [ ! -s {tmp_path}/pid ]; do sleep 0.02; done
            false
            ~~~
            """)
    for name in ("pid", "other"):
        assert not alive(int((tmp_path / name).read_text()))


def test_no_proxy_leads_out(read):
    read("~~~sh fails\ncurl -s --max-time 5 http://penstock.example.com/\n~~~")


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("a   b", None),
        ("  x … z", None),
        ("…", None),
        ("a b\n\nx y z", None),
        ("x …y z", None),
        ("a", "a"),
        ("b", "b"),
        ("x y z\na b", "a b"),
        ("x … q", "x … q"),
        ("x …y", "x …y"),
        ("a b x", "a b x"),
    ],
)
def test_shown_lines_are_looked_for_in_order(shown, missing):
    assert first_missing(shown, "  a b  \n--\nx   y z\n") == missing


def alive(pid):
    time.sleep(0.05)
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            and bool(os.kill(pid, 0)) is False
        )
    except OSError:
        return False
