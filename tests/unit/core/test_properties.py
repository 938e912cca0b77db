"""What holds for every definition and whatever happens, tried with random ones. `HYPOTHESIS_PROFILE=deep` tries long."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import codec, scopes
from penstock.core.events import AnyEvent
from penstock.core.state import ENDED, Status
from support.graphs import FLAGS, Maker
from support.harness import Refused, replay
from support.play import Accounts, Player

RANDOM = st.randoms(use_true_random=False)


@pytest.fixture(autouse=True, scope="module")
def small_steps():
    """Few elements start in one step, so that `ElementsDue` comes up with short lists."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(scopes, "CHUNK", 2)
        yield


def begin(random, *, size=6, depth=2, auto=False):
    definition = Maker(random, size=size, depth=depth).definition()
    h = Accounts(definition, auto=auto).start(FLAGS, called=random.random() < 0.3)
    return h, Player(h, random, definition), definition


@given(RANDOM)
def test_everything_holds_whatever_happens_and_a_replay_gives_the_same(random):
    """After each step the harness checks counts, states, what is out, and the accounts of tokens; a refused event changed
    nothing; what a step was given stays as it was.
    """
    h, player, definition = begin(random)
    for _ in range(40):
        player.turn()
    again = replay(h, definition)
    assert again.scopes == h.scopes
    assert again.process == h.process
    assert again.data_ == h.data_
    assert {n: row["state"] for n, row in again.visits.items()} == {n: row["state"] for n, row in h.visits.items()}


@given(RANDOM)
def test_larger_ones_too(random):
    h, player, definition = begin(random, size=12, depth=3)
    player.ending = 0.02
    for _ in range(80):
        player.turn()
    assert replay(h, definition).scopes == h.scopes


@given(RANDOM)
def test_what_is_answered_comes_to_an_end(random):
    """Answered, retried and skipped long enough, a process without loops ends; whatever loops goes on waiting by name."""
    h, player, _ = begin(random, auto=True)
    for _ in range(10):
        player.world()
    if h.status is Status.SUSPENDED:
        h.resume()
    for _ in range(150):
        if h.status in ENDED:
            break
        finish_one(h, player)
    loops = any(code in graph.after[code] for graph in h.version.places.values() for code in graph.nodes)
    assert h.status in ENDED or loops or h.process.seq > 100


def finish_one(h, player):
    if h.jobs:
        h.complete(player.pick(h.jobs), {"yes": True})
    elif h.items:
        h.complete(player.pick(h.items))
    elif h.children:
        h.child_ended(player.pick(h.children))
    elif h.timers:
        h.fire(*player.pick(h.timers))
    elif h.subscriptions:
        player.message()
    else:
        failed = sorted(n for n, row in h.visits.items() if row["state"] == "FAILED")
        assert failed, "the process waits for nothing"
        try:
            h.skip(failed[0], {"yes": True})
        except Refused:
            targets = h.graph(h.peek(h.find(failed[0])[0])).outgoing[h.row(failed[0])["node"]]
            h.skip(failed[0], targets[0].target)
        if failed[0] in h.at(h.row(failed[0])["node"]):
            h.cancel()  # no condition of its flows is ever true


@given(RANDOM)
def test_ended_processes_are_quiet(random):
    h, player, _ = begin(random)
    for _ in range(10):
        player.turn()
    if h.status not in ENDED:
        if h.status is Status.TERMINATING:
            h.wait(60_000)
        else:
            player.pick([h.cancel, lambda: h.terminate(running=0)])()
    before = dict(h.scopes), h.process, len(h.record)
    for _ in range(20):
        player.stale()
    assert (dict(h.scopes), h.process, len(h.record)) == before


@given(RANDOM)
def test_numbers_are_given_once(random):
    h, player, _ = begin(random)
    for _ in range(30):
        player.turn()
    opened = Counter()
    for _, kind, commands in h.record:
        for command in () if kind == "moved" else map(codec.decode_json, (each.decode() for each in commands)):
            if command["type"] == "OpenVisit":
                opened[command["n"]] += 1
            elif command["type"] == "CreateElements":
                opened.update(range(command["first"], command["first"] + len(command["values"])))
    assert all(count == 1 for count in opened.values())
    assert max(opened, default=0) < h.process.next_n


def test_players_do_everything_now_and_then():
    """The random play reaches every state and nearly every event; otherwise it would prove little."""
    statuses, events = Counter(), Counter()
    for seed in range(250):
        h, player, _ = begin(Random(seed))
        for _ in range(40):
            player.turn()
            statuses[h.status] += 1
        events.update(type(codec.decode_event(text)).__name__ for text, _, _ in h.record)
    assert set(statuses) == set(Status)
    missing = {"CompleteRequested"}
    assert {each.__name__ for each in AnyEvent.__args__} - set(events) == missing


TAMPERING = [
    lambda h: setattr(h.process, "incidents", 1),
    lambda h: setattr(h.process, "status", Status.RETRYING),
    lambda h: h.jobs.clear(),
    lambda h: h.jobs.update({9: h.jobs[1]}),
    lambda h: h.timers.clear(),
    lambda h: h.visits[1].update(state="COMPLETED"),
    lambda h: h.visits[1].update(attempt=2),
    lambda h: h.scopes.update({0: h.scopes[0].replace('"1":{', '"7":{')}),
    lambda h: h.scopes.update({0: h.scopes[0].replace('"active"', '"waiting":{"z":{"1":1}},"active"')}),
    lambda h: h.scopes.update({9: '1{"n":9,"parent":0,"node":"s"}'}),
]


@pytest.mark.parametrize("tamper", TAMPERING)
def test_harness_notices_what_is_wrong(tamper):
    """The guard is guarded: a lost token, a wrong count, work that hangs in the air are seen."""
    h = Accounts(
        """
        nodes: {a: {kind: job, topic: t, retry: {timeout: PT1H}}, b: {kind: job, topic: t}, s: {kind: scope, nodes: {i: {kind: start}}},
                z: {kind: job, topic: t, join: all}}
        flows: [{from: a, to: z}, {from: b, to: z}, {from: b, to: s}]
        """
    ).start()
    h.check()
    tamper(h)
    with pytest.raises((AssertionError, KeyError)):
        h.check()
