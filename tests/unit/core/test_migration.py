import pytest

from penstock.core import commands as do
from penstock.core.decider import Rejected
from penstock.core.events import MessageArrived, Migrated
from penstock.core.state import Phase, Status
from support.harness import Harness, Refused
from support.harness import compiled as version


def play(text, input=None):
    return Harness(text).start(input)


LINE = "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}}\nflows: [{from: a, to: b}]"


def test_token_goes_on_by_the_new_version():
    h = play(LINE)
    new = "nodes: {a: {kind: job, topic: x}, c: {kind: job, topic: y}}\nflows: [{from: a, to: c}]"
    plan = h.plan(new)
    assert (plan.problems, [tuple(move) for move in plan.moves]) == ([], [(0, 1, "a", "a")])
    h.migrate(new)
    assert h.jobs[1].topic == "t"  # what is out stays out
    h.complete("a")
    assert h.jobs[2].topic == "y"


def test_nodes_are_mapped_and_their_outputs_with_them():
    h = play(LINE).complete("a", {"x": 1})
    new = "nodes: {first: {kind: job, topic: t}, second: {kind: job, topic: t}, z: {kind: job, topic: t, input: '${first.x}'}}\nflows: [{from: first, to: second}, {from: second, to: z}]"
    assert [tuple(move) for move in h.plan(new, {"a": "first", "b": "second"}).moves] == [(0, 2, "b", "second")]
    h.migrate(new, {"a": "first", "b": "second"})
    assert do.RenameVisit(2, "second") in h.last.commands
    assert h.row(2)["node"] == "second"
    h.complete("second")
    assert h.jobs[3].input == 1


EACH = (
    "nodes: {s: {kind: scope, for_each: '${input}', as: e, limit: 2, nodes: {i: {kind: job, topic: t, input: '${e}'}}}}"
)
# present version, what happens, new version, mapping, code and text of the problems
REFUSED = [
    (
        LINE,
        None,
        "nodes: {b: {kind: job, topic: t}}",
        {},
        [("no_place", "the token at 'a': the new version has no node 'a' there")],
    ),
    (LINE, None, "nodes: {a: {kind: item, task: T}}\ntasks: {T: {}}", {}, [("no_place", "'a' is a item, not a job")]),
    (LINE, None, LINE, {"a": "x"}, [("unknown_node", "the new version has no node 'x'")]),
    (LINE, None, LINE, {"x": "a"}, [("unknown_node", "the present version has no node 'x'")]),
    (LINE, lambda h: h.cancel(), LINE, {}, [("wrong_state", "cannot migrate: the process is CANCELLED")]),
    (LINE, lambda h: h.terminate(running=1), LINE, {}, [("wrong_state", "the process is TERMINATING")]),
    (LINE, None, "driver: client", {}, [("driver", "the driver is client in the new version, not graph")]),
    (
        "nodes: {s: {kind: scope, nodes: {i: {kind: job, topic: t}}}}",
        None,
        "nodes: {s: {kind: scope, nodes: {k: {kind: job, topic: t}}}}",
        {},
        [("no_place", "the token at 'i'")],
    ),
    (
        "nodes: {s: {kind: scope, nodes: {i: {kind: job, topic: t}}}}",
        None,
        "nodes: {i: {kind: job, topic: t}}",
        {},
        [("no_place", "the token at 's'"), ("no_place", "scope node 's' has no place")],
    ),
    (
        EACH,
        None,
        "nodes: {s: {kind: scope, nodes: {i: {kind: job, topic: t}}}}",
        {},
        [("no_place", "'s' differs in for_each")],
    ),
    (
        "nodes: {g: {kind: gateway, gateway: event}, m: {kind: message, message: M}}\nflows: [{from: g, to: m}]",
        None,
        "nodes: {g: {kind: gateway, gateway: parallel}, m: {kind: message, message: M}}\nflows: [{from: g, to: m}]",
        {},
        [("no_place", "'g' is a gateway that waits for no event")],
    ),
    (
        LINE,
        None,
        "nodes: {a: {kind: job, topic: t}, late: {kind: boundary, attached_to: a, timer: '${input.x}'}}",
        {},
        [("expression", "what 'a' waits for: input.x")],
    ),
    (
        "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}, j: {kind: gateway, gateway: parallel}}\nflows: [{from: a, to: j}, {from: b, to: j}]",
        lambda h: h.complete("a"),
        "nodes: {b: {kind: job, topic: t}, c: {kind: job, topic: t}, j: {kind: gateway, gateway: parallel}}\nflows: [{from: c, to: j}, {from: b, to: j}]",
        {},
        [("no_place", "tokens of flow 'a-j' wait at 'j': the new version has no such flow")],
    ),
    (
        "nodes: {a: {kind: item, task: T}}\ntasks: {T: {}}",
        None,
        "nodes: {a: {kind: item, task: U}}\ntasks: {U: {}}",
        {},
        [("no_place", "'a' shows task 'U', not 'T'")],
    ),
    (LINE, lambda h: h.complete("a"), "nodes: {x: {kind: job, topic: t}}", {}, [("no_place", "the token at 'b'")]),
]


@pytest.mark.parametrize(("old", "act", "new", "mapping", "problems"), REFUSED)
def test_migration_is_refused_with_every_place_that_has_none(old, act, new, mapping, problems):
    h = play(old, {} if old is LINE else [1, 2, 3])
    if act:
        act(h)
    plan = h.plan(new, mapping)
    found = [(problem.code, problem.message) for problem in plan.problems]
    assert (plan.scopes, plan.visits, plan.commands) == ({}, [], [])
    for code, text in problems:
        assert [message for each, message in found if each == code and text in message], found
    with pytest.raises(Refused):
        h.migrate(new, mapping)


def test_all_problems_are_listed_at_once():
    h = play("nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}, c: {kind: job, topic: t}}")
    plan = h.plan("nodes: {b: {kind: job, topic: t}}")
    assert [problem.pointer for problem in plan.problems] == ["/visits/1", "/visits/3"]
    assert [move.node for move in plan.moves] == ["b"]


def test_step_refuses_a_migration_as_an_event():
    h = play(LINE)
    assert h.apply(Migrated(at=h.now, version=2, mapping={})) == Rejected(
        "wrong_state", "a migration is applied by core.migration"
    )


# -- boundaries and events ---------------------------------------------------------------------------------------------

BOUNDARIES = [
    ("", "late: {kind: boundary, attached_to: a, timer: PT1H}", [], [("late", "timer")]),
    ("", "m: {kind: boundary, attached_to: a, message: M, key: '${input.k}'}", [], [("m", "message")]),
    ("late: {kind: boundary, attached_to: a, timer: PT1H}", "", [do.StopTimer(1, "late")], []),
    ("m: {kind: boundary, attached_to: a, signal: S}", "", [do.Unsubscribe(1, "m")], []),
    (
        "late: {kind: boundary, attached_to: a, timer: PT1H}",
        "late: {kind: boundary, attached_to: a, timer: PT2H}",
        [do.StopTimer(1, "late")],
        [("late", "timer")],
    ),
    (
        "late: {kind: boundary, attached_to: a, timer: PT1H}",
        "late: {kind: boundary, attached_to: a, message: M}",
        [do.StopTimer(1, "late")],
        [("late", "message")],
    ),
    (
        "late: {kind: boundary, attached_to: a, timer: PT1H}",
        "late: {kind: boundary, attached_to: a, timer: PT1H, interrupting: false}",
        [],
        [],
    ),
    ("e: {kind: boundary, attached_to: a, error: E}", "f: {kind: boundary, attached_to: a, error: F}", [], []),
]


@pytest.mark.parametrize(("before", "after", "stopped", "armed"), BOUNDARIES)
@pytest.mark.parametrize("phase", [Phase.RUN, Phase.BACKOFF, Phase.RUN_FAILED])
def test_boundaries_that_differ_are_armed_anew(before, after, stopped, armed, phase):
    h = play(f"nodes: {{a: {{kind: job, topic: t}}, {before}}}", {"k": "key"})
    if phase is not Phase.RUN:
        h.fail("a", permanent=phase is Phase.RUN_FAILED)
    h.migrate(f"nodes: {{a: {{kind: job, topic: t}}, {after}}}")
    stops = [c for c in h.last.commands if isinstance(c, do.StopTimer | do.Unsubscribe)]
    arms = [c for c in h.last.commands if isinstance(c, do.StartTimer | do.Subscribe)]
    assert stops == stopped
    assert [(c.purpose, "timer" if isinstance(c, do.StartTimer) else "message") for c in arms] == armed


def test_boundaries_of_a_visit_that_never_began_are_armed_when_it_begins():
    h = play("nodes: {a: {kind: job, topic: t, input: '${input.x}'}}", {})
    h.migrate(
        "nodes: {a: {kind: job, topic: t, input: '${input.x}'}, late: {kind: boundary, attached_to: a, timer: PT1H}}"
    )
    assert not h.timers
    h.data_["input"] = {"x": 1}
    h.retry()
    assert set(h.timers) == {(1, "late")}


def test_renamed_boundary_is_armed_anew():
    h = play("nodes: {a: {kind: job, topic: t}, late: {kind: boundary, attached_to: a, timer: PT1H}}")
    h.migrate(
        "nodes: {a: {kind: job, topic: t}, later: {kind: boundary, attached_to: a, timer: PT1H}}", {"late": "later"}
    )
    assert set(h.timers) == {(1, "later")}
    h.fire("a", "later")
    assert h.status is Status.COMPLETED


EVENTS = "nodes: {{g: {{kind: gateway, gateway: event}}, {m}: {{kind: message, message: M}}, {t}: {{kind: timer, after: PT1H}}}}\nflows: [{{from: g, to: {m}}}, {{from: g, to: {t}}}]"


def test_events_of_a_gateway_are_armed_anew_where_they_differ():
    h = play(EVENTS.format(m="m", t="t"))
    h.migrate(EVENTS.format(m="n", t="t"), {"m": "n"})
    assert set(h.subscriptions) == {(1, "n")}
    assert set(h.timers) == {(1, "t")}
    assert do.StopTimer(1, "t") not in h.last.commands
    h.message("M")
    assert h.status is Status.COMPLETED


def test_timer_and_message_that_are_out_stay_as_they_are():
    h = play("nodes: {t: {kind: timer, after: PT1H}, m: {kind: message, message: M}}")
    timers, subscriptions = dict(h.timers), dict(h.subscriptions)
    h.migrate("nodes: {t: {kind: timer, after: PT9H}, m: {kind: message, message: N}}")
    assert (h.timers, h.subscriptions) == (timers, subscriptions)
    h.message("M").fire("t")
    assert h.status is Status.COMPLETED


def test_time_of_an_attempt_stops_where_the_new_version_knows_none():
    h = play("nodes: {a: {kind: job, topic: t, retry: {timeout: PT1H}}}")
    h.migrate("nodes: {a: {kind: job, topic: t}}")
    assert not h.timers


# -- scopes and tokens that wait ---------------------------------------------------------------------------------------


def test_elements_move_and_those_not_started_start_in_the_new_version():
    h = play(EACH, [1, 2, 3, 4])
    h.migrate(
        "nodes: {loop1: {kind: scope, for_each: '${input}', as: one, nodes: {k: {kind: job, topic: t, input: '${one}'}}}}",
        {"s": "loop1", "i": "k"},
    )
    assert len(h.at("k")) == 2
    h.complete("k")  # there is no limit any more
    assert [h.jobs[n].input for n in h.at("k")] == [2, 3, 4]
    for n in h.at("k"):
        h.complete(n)
    assert h.status is Status.COMPLETED


def test_migration_that_changes_nothing_of_an_element_does_not_write_it():
    h = play(EACH, list(range(100)))
    h.migrate(EACH)
    assert h.last.scopes == {}


JOIN = """
nodes: {{a: {{kind: job, topic: t}}, b: {{kind: job, topic: t}}, j: {{kind: {kind}}}, z: {{kind: job, topic: t}}}}
flows: [{{from: a, to: j}}{more}, {{from: j, to: z}}]
"""


@pytest.mark.parametrize(
    ("new", "goes_on"),
    [
        (JOIN.format(kind="gateway, gateway: parallel", more=", {from: b, to: j}"), False),
        (JOIN.format(kind="gateway, gateway: inclusive", more=", {from: b, to: j}"), False),
        (JOIN.format(kind="gateway, gateway: inclusive", more=", {from: b, to: z}"), True),
        (JOIN.format(kind="gateway, gateway: parallel", more=", {from: b, to: z}"), True),
        (JOIN.format(kind="gateway, gateway: exclusive", more=", {from: b, to: j}"), True),
    ],
)
@pytest.mark.parametrize("suspended", [False, True])
def test_tokens_that_wait_are_judged_by_the_new_version(new, goes_on, suspended):
    h = play(JOIN.format(kind="gateway, gateway: parallel", more=", {from: b, to: j}")).complete("a")
    assert h.peek().waiting == {"j": {0: 1}}
    if suspended:
        h.suspend()
        if goes_on:
            with pytest.raises(Refused, match="would go on at once, and the process is SUSPENDED"):
                h.migrate(new)
            h.resume()
    h.migrate(new)
    assert bool(h.at("z")) is goes_on
    assert bool(h.peek().waiting) is not goes_on
    if suspended and not goes_on:
        h.resume()
    h.complete("b")
    while h.jobs:
        h.complete("z")
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize("suspended", [False, True])
def test_join_that_can_never_be_complete_in_the_new_version_is_reported(suspended):
    h = play(JOIN.format(kind="gateway, gateway: parallel", more=", {from: b, to: j}")).complete("a")
    new = """
    nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}, c: {kind: job, topic: t}, j: {kind: gateway, gateway: parallel}, z: {kind: job, topic: t}}
    flows: [{from: a, to: j}, {from: c, to: j}, {from: j, to: z}, {from: b, to: z}]
    """
    if suspended:
        h.suspend()
    h.migrate(new)
    assert h.phase("j") is Phase.STUCK
    if suspended:
        h.resume()
    assert h.status is Status.FAILED
    h.skip("j").complete("z").complete("b").complete("z")
    assert h.status is Status.COMPLETED


def test_stuck_join_goes_on_where_the_new_version_can():
    text = """
    nodes: {{s: {{kind: gateway, gateway: exclusive}}, x: {{kind: set, vars: {{v: 1}}}}, y: {{kind: set, vars: {{v: 1}}}},
            j: {{kind: gateway, gateway: {kind}}}, z: {{kind: job, topic: t}}}}
    flows: [{{from: s, to: x}}, {{from: s, to: y}}, {{from: x, to: j}}, {{from: y, to: j}}, {{from: j, to: z}}]
    """
    h = play(text.format(kind="parallel"))
    assert h.phase("j") is Phase.STUCK
    h.migrate(text.format(kind="exclusive"))
    assert h.status is Status.RUNNING
    assert h.at("z")


def test_parallel_flows_between_the_same_nodes_stay_apart():
    text = """
    nodes: {{{a}: {{kind: gateway, gateway: parallel}}, b: {{kind: job, topic: t}}, j: {{kind: gateway, gateway: parallel}}, z: {{kind: job, topic: t}}}}
    flows: [{{from: {a}, to: j}}, {{from: {a}, to: j}}, {{from: {a}, to: b}}, {{from: b, to: j}}, {{from: j, to: z}}]
    """
    h = play(text.format(a="a"))
    h.migrate(text.format(a="first"), {"a": "first"})
    assert h.peek().waiting == {"j": {0: 1, 1: 1}}
    assert h.complete("b").complete("z").status is Status.COMPLETED


def test_kept_events_of_renamed_boundaries_are_stale_at_resume():
    h = play("nodes: {a: {kind: job, topic: t}, m: {kind: boundary, attached_to: a, message: M}}").suspend()
    h.message("M")
    h.migrate("nodes: {a: {kind: job, topic: t}, n: {kind: boundary, attached_to: a, message: M}}", {"m": "n"})
    h.auto = False
    h.resume()
    assert isinstance(h.apply(MessageArrived(at=h.now, scope=0, visit=1, purpose="m", name="M")), Rejected)
    assert set(h.subscriptions) == {(1, "n")}


def test_incident_stays_with_its_visit():
    h = play(LINE).fail("a", permanent=True)
    h.migrate(LINE)
    assert h.status is Status.FAILED
    assert h.retry().complete("a").complete("b").status is Status.COMPLETED


def test_version_is_compiled_once():
    new = version(LINE)
    assert play(LINE).migrate(new).version is new
