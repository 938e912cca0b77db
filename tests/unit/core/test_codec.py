import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.state import FORMAT, Active, Each, Phase, Scope
from penstock.errors import Defect

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
NUMBERS = st.integers(0, 2**53)
FAILURES = st.recursive(
    st.builds(ev.Failure, st.text(), st.text(), st.booleans()),
    lambda inner: st.builds(ev.Failure, st.text(), st.text(), st.booleans(), inner),
    max_leaves=4,
)
MEMBERS = {
    "at": st.integers(-(2**40), 2**50),
    "actor": st.text(),
    **dict.fromkeys(("scope", "visit", "attempt", "running", "version"), NUMBERS),
    **dict.fromkeys(("input", "output", "metadata", "entity", "payload", "data"), JSON),
    **{name: st.text() for name in ("purpose", "name", "message_id", "status", "message", "owner", "reason", "node")},
    "code": st.text(),
    "start": st.none() | st.text(),
    "document": st.text(),
    "item": st.none() | st.text(),
    "called": st.booleans(),
    "signal": st.booleans(),
    "has_input": st.booleans(),
    "has_output": st.booleans(),
    "failure": FAILURES,
    "delay": st.none() | NUMBERS,
    "to": st.text(),
    "note": st.text(),
    "due_at": st.none() | NUMBERS,
    "priority": st.integers(-1000, 1000),
    "candidates": st.lists(st.text(), max_size=3).map(tuple),
    "mapping": st.dictionaries(st.text(), st.text(), max_size=3),
}
EVENTS = st.one_of(
    *(st.builds(event, **{name: MEMBERS[name] for name in event.__struct_fields__}) for event in ev.AnyEvent.__args__)
)
ACTIVES = st.builds(
    Active, st.text(), st.sampled_from(Phase), st.integers(1, 99), st.integers(1, 99), st.booleans(), st.booleans()
)
SCOPES = st.builds(
    Scope,
    n=NUMBERS,
    parent=st.none() | NUMBERS,
    node=st.text(),
    index=st.none() | NUMBERS,
    vars=st.dictionaries(st.text(), JSON, max_size=3),
    active=st.dictionaries(NUMBERS, ACTIVES, max_size=3),
    waiting=st.dictionaries(st.text(), st.dictionaries(NUMBERS, NUMBERS, max_size=3), max_size=3),
    done=st.dictionaries(st.text(), NUMBERS, max_size=3),
    incidents=NUMBERS,
    retrying=NUMBERS,
    each=st.none() | st.builds(Each, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans()),
)


@given(EVENTS)
def test_events_come_back_as_they_were(event):
    text = codec.encode(event)
    assert text.startswith(f'{FORMAT}{{"type":"{type(event).__name__}"')
    assert codec.decode_event(text) == event


@given(SCOPES)
def test_scopes_come_back_as_they_were(scope):
    text = codec.encode(scope)
    assert text.startswith(f"{FORMAT}{{")
    assert codec.decode_scope(text) == scope


@given(JSON)
def test_json_comes_back_as_it_was(value):
    assert codec.decode_json(codec.encode_json(value)) == value


def test_failures_come_back_as_they_were():
    failure = ev.Failure("A", "b", permanent=True, cause=ev.Failure("C", "d"))
    assert codec.decode_failure(codec.encode_json(failure)) == failure
    assert codec.decode_failure(None) is None
    assert codec.decode_failure("null") is None


def test_what_is_default_is_not_written():
    assert codec.encode(Scope(n=3)) == '1{"n":3}'
    assert codec.encode(ev.SuspendRequested(at=5)) == '1{"type":"SuspendRequested","at":5}'


def test_format_of_today_is_read_for_ever():
    """A recorded text of format 1: it must be read, whatever the format is by then."""
    scope = codec.decode_scope(
        '1{"n":4,"parent":0,"node":"s","active":{"7":{"node":"a","phase":"backoff","attempt":2}},"waiting":{"j":{"0":1}}}'
    )
    assert scope == Scope(n=4, parent=0, node="s", active={7: Active("a", Phase.BACKOFF, 2)}, waiting={"j": {0: 1}})
    event = codec.decode_event(
        '1{"type":"JobFailed","at":9,"actor":"app:x","scope":0,"visit":1,"attempt":1,"failure":{"type":"E","message":""}}'
    )
    assert event == ev.JobFailed(at=9, actor="app:x", scope=0, visit=1, attempt=1, failure=ev.Failure("E", ""))


@pytest.mark.parametrize("text", ["", "{}", "x{}", "1", '1{"n":"x"}', '1{"n":1', "1[]", '1{"type":"Nothing","at":1}'])
def test_what_cannot_be_read_is_a_defect(text):
    with pytest.raises(Defect):
        codec.decode_event(text)
    with pytest.raises(Defect):
        codec.decode_scope(text)


def test_newer_format_is_refused():
    with pytest.raises(Defect, match=f"state of format {FORMAT + 1} was written by a newer version"):
        codec.decode_scope(f'{FORMAT + 1}{{"n":1}}')


def test_older_formats_are_lifted_one_number_at_a_time(monkeypatch):
    monkeypatch.setattr(codec, "FORMAT", 4)
    monkeypatch.setattr(codec, "_PREFIX", "4")
    monkeypatch.setattr(
        codec,
        "SCOPE_UPCASTERS",
        {1: lambda old: {**old, "n": old["number"]}, 3: lambda old: {**old, "n": old["n"] + 100}},
    )
    monkeypatch.setattr(codec, "EVENT_UPCASTERS", {2: lambda old: {**old, "at": old["at"] * 1_000}})
    assert codec.decode_scope('1{"number":5}') == Scope(n=105)
    assert codec.decode_scope('3{"n":5}') == Scope(n=105)
    assert codec.decode_scope('4{"n":5}') == Scope(n=5)
    assert codec.encode(Scope(n=5)) == '4{"n":5}'
    assert codec.decode_event('1{"type":"SuspendRequested","at":5}') == ev.SuspendRequested(at=5_000)
    assert codec.decode_event('3{"type":"SuspendRequested","at":5}') == ev.SuspendRequested(at=5)
