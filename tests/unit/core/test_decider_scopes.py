"""Scopes and for_each: what they open, in which order, how they end."""

import pytest

from penstock.core import commands as do
from penstock.core.scopes import CHUNK
from penstock.core.state import Each, Phase, Scope, Status
from support.harness import Harness


def each(
    inner="{i: {kind: job, topic: t, input: '${e}'}}", *, values="${input}", members="", rest="", flows="", given=None
):
    return Harness(
        f"""
        nodes:
          s: {{kind: scope, for_each: "{values}", as: e, {members} nodes: {inner}}}
          z: {{kind: job, topic: t, input: "${{s}}"}}
          {rest}
        flows: [{{from: s, to: z}}, {flows}]
        """
    ).start(given)


def finish(h, node="i"):
    while h.at(node):
        n = h.at(node)[0]
        h.complete(n, {"of": h.jobs[n].input})
    return h


# -- plain scopes ------------------------------------------------------------------------------------------------------


def test_scope_runs_its_graph_and_gives_its_output():
    h = Harness(
        """
        nodes:
          v: {kind: set, vars: {outer: 1, both: outer}}
          a: {kind: job, topic: t}
          s: {kind: scope, output: {r: "${vars.both}", o: "${vars.outer}", a: "${a.x}", i: "${i.y}"}, nodes: {
            w: {kind: set, vars: {both: inner}}, i: {kind: job, topic: t, input: "${vars}"}}, flows: [{from: w, to: i}]}
          z: {kind: job, topic: t, input: {s: "${s}", both: "${vars.both}"}}
        flows: [{from: v, to: a}, {from: a, to: s}, {from: s, to: z}]
        """
    ).start()
    h.complete("a", {"x": 7})
    assert h.jobs[h.at("i")[0]].input == {"outer": 1, "both": "inner"}
    scope = h.at("s")[0]
    assert h.peek(scope) == Scope(
        n=scope, parent=0, node="s", vars={"both": "inner"}, active=h.peek(scope).active, done=h.peek(scope).done
    )
    h.complete("i", {"y": 8})
    assert scope not in h.scopes
    assert h.jobs[h.at("z")[0]].input == {"s": {"r": "inner", "o": 1, "a": 7, "i": 8}, "both": "outer"}


def test_scope_without_a_wait_opens_and_closes_in_one_step():
    h = Harness(
        """
        nodes:
          s: {kind: scope, output: "${vars.x}", nodes: {w: {kind: set, vars: {x: 3}}}}
          z: {kind: job, topic: t, input: "${s}"}
        flows: [{from: s, to: z}]
        """
    ).start()
    assert h.jobs[h.at("z")[0]].input == 3
    assert list(h.scopes) == [0]
    assert not [c for c in h.last.commands if isinstance(c, do.DropScope)]


def test_output_of_a_scope_that_fails_is_an_incident_inside_and_retry_goes_on():
    h = Harness("nodes: {s: {kind: scope, output: '${i.y}', nodes: {i: {kind: job, topic: t}}}}").start()
    h.complete("i", {})
    assert h.phase("i") is Phase.LEAVE_FAILED
    assert "output: i.y" in h.row("i")["failure"].message
    h.debug("i", output={"y": 4})
    assert h.status is Status.COMPLETED
    assert h.row("s")["output"] == 4


def test_each_token_opens_a_scope_of_its_own():
    h = Harness(
        """
        nodes: {a: {kind: start}, s: {kind: scope, nodes: {i: {kind: job, topic: t}}}, z: {kind: job, topic: t}}
        flows: [{from: a, to: s}, {from: a, to: s}, {from: s, to: z}]
        """
    ).start()
    assert len(h.at("i")) == 2
    h.complete("i").complete("i").complete("z").complete("z")
    assert h.status is Status.COMPLETED


# -- for_each ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("members", ["", "output: '${i}',"])
def test_empty_list_is_done_at_once(members, read):
    h = each(members=members, given=[])
    assert h.jobs[h.at("z")[0]].input == ([] if members else None)
    assert h.row("s")["input"] == {"count": 0}
    assert list(h.scopes) == [0]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_outputs_are_in_the_order_of_the_elements_whatever_ends_first(order):
    h = each(members="output: '${i.of}',", given=["a", "b", "c", "d"])
    visits = {h.jobs[n].input: n for n in h.at("i")}
    for index in order:
        h.complete(visits["abcd"[index]], {"of": index * 10})
    assert h.jobs[h.at("z")[0]].input == [0, 10, 20, 30]
    assert h.row("s")["output"] == [0, 10, 20, 30]
    assert not h.kept_outputs


def test_outputs_of_elements_that_do_not_wait():
    h = each(
        "{w: {kind: set, vars: {x: '${e * 2}'}}}", members="output: '${vars.x}',", given=list(range(CHUNK * 2 + 5))
    )
    assert h.jobs[h.at("z")[0]].input == [n * 2 for n in range(CHUNK * 2 + 5)]
    assert list(h.scopes) == [0]
    h = each("{w: {kind: set, vars: {x: '${e * 2}'}}}", members="output: '${vars.x}',", given=[1, 2])
    assert h.jobs[h.at("z")[0]].input == [2, 4]


def test_output_that_nobody_reads_is_not_kept():
    h = Harness(
        "nodes: {s: {kind: scope, for_each: '${[1]}', as: e, output: '${i}', nodes: {i: {kind: job, topic: t}}}}"
    ).start()
    h.complete("i", {"of": 1})
    assert h.row("s").get("output") is None
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_limit_bounds_how_many_run_at_once(limit):
    h = each(members=f"limit: {limit},", given=list(range(7)))
    seen = []
    while h.at("i"):
        assert len(h.at("i")) == min(limit, 7 - len(seen))
        n = h.at("i")[0]
        seen.append(h.jobs[n].input)
        h.complete(n)
    assert seen == list(range(7))
    assert h.at("z")


@pytest.mark.parametrize("limit", [None, CHUNK + 10])
def test_more_elements_than_one_step_starts_follow_by_elements_due(limit):
    total = CHUNK * 2 + 20
    h = Harness(
        f"nodes: {{s: {{kind: scope, for_each: '${{input}}', as: e, {f'limit: {limit},' if limit else ''} nodes: {{i: {{kind: job, topic: t}}}}}}}}",
        auto=False,
    ).start(list(range(total)))
    assert len(h.at("i")) == CHUNK
    assert h.peek(1).each == Each(total=total, first=2, next=CHUNK, due=True)
    assert len(h.inbox) == 1
    h.complete("i")  # an element that ends does not start another while more are due anyway
    assert len(h.at("i")) == CHUNK - 1
    h.auto = True
    h.drain()
    assert len(h.at("i")) == (limit or total - 1)
    finish(h)
    assert h.status is Status.COMPLETED


def test_many_nodes_in_each_element_do_not_count_as_a_loop():
    nodes = ", ".join(f"n{k}: {{kind: set, vars: {{x: 1}}}}" for k in range(40))
    flows = ", ".join(f"{{from: n{k}, to: n{k + 1}}}" for k in range(39))
    h = each(f"{{{nodes}}}, flows: [{flows}]", given=list(range(200)))
    assert h.status is Status.RUNNING
    assert h.at("z")
    assert h.process.seq > 8  # in several steps


def test_one_at_a_time_without_a_wait_is_done_in_several_steps():
    h = each("{w: {kind: set, vars: {x: 1}}}", members="limit: 1,", given=list(range(300)))
    assert h.at("z")
    assert h.process.seq == 1 + (300 - 1) // CHUNK


def test_loop_variables_of_nested_for_each():
    h = Harness(
        """
        nodes:
          s: {kind: scope, for_each: "${input}", as: row, nodes: {
            t: {kind: scope, for_each: "${row.cells}", as: cell, output: "${i}", nodes: {
              i: {kind: job, topic: t, input: {row: "${row.n}", cell: "${cell}", index: "${loop.index}", count: "${loop.count}"}}}},
            j: {kind: job, topic: t, input: {t: "${t}", index: "${loop.index}", count: "${loop.count}"}}},
            flows: [{from: t, to: j}]}
        """
    ).start([{"n": 1, "cells": ["a", "b"]}, {"n": 2, "cells": []}, {"n": 3, "cells": ["c"]}])
    inputs = [h.jobs[n].input for n in h.at("i")]
    assert inputs == [
        {"row": 1, "cell": "a", "index": 0, "count": 2},
        {"row": 1, "cell": "b", "index": 1, "count": 2},
        {"row": 3, "cell": "c", "index": 0, "count": 1},
    ]
    assert h.jobs[h.at("j")[0]].input == {"t": [], "index": 1, "count": 3}
    for n in h.at("i"):
        h.complete(n, h.jobs[n].input["cell"])
    assert sorted((h.jobs[n].input["index"], h.jobs[n].input["t"]) for n in h.at("j")) == [
        (0, ["a", "b"]),
        (1, []),
        (2, ["c"]),
    ]


def test_loop_outside_of_a_for_each_is_not_there():
    h = Harness("nodes: {a: {kind: job, topic: t, input: '${loop.index}'}}").start()
    assert h.row("a")["failure"].type == "ExpressionFailed"


def test_elements_do_not_see_each_other():
    h = each(
        "{v: {kind: set, vars: {mine: '${e}'}}, i: {kind: job, topic: t, input: '${vars.mine}'}}, flows: [{from: v, to: i}]",
        given=[1, 2],
    )
    assert [h.jobs[n].input for n in h.at("i")] == [1, 2]


def test_incidents_of_elements_are_counted_and_the_others_go_on():
    h = each("{i: {kind: job, topic: t, input: '${e.x}'}, k: {kind: job, topic: t}}", given=[{"x": 1}, {}, {}])
    assert h.status is Status.FAILED
    assert h.peek(1).each.failed == 2
    assert h.process.incidents == 2
    h.skip(next(n for n in h.at("i") if h.phase(n) is Phase.ENTER_FAILED))
    assert h.peek(1).each.failed == 1
    for n in h.at("k"):
        h.complete(n)
    h.complete(next(iter(h.jobs)))
    assert h.peek(1).each == Each(total=3, first=2, next=3, done=2, failed=1)
    h.skip("i")
    assert h.status is Status.RUNNING
    assert h.at("z")


def test_cancel_in_the_midst_withdraws_all():
    h = each(members="limit: 3,", given=list(range(10)))
    h.complete("i").cancel()
    assert h.status is Status.CANCELLED
    assert [state for _, state in h.states()].count("CANCELLED") == 4


def test_interrupted_for_each_drops_elements_not_yet_started():
    h = each(members="limit: 2,", rest="b: {kind: boundary, attached_to: s, timer: PT1H}", given=list(range(CHUNK * 3)))
    assert len(h.scopes) == CHUNK * 3 + 2
    h.fire("s", "b")
    assert h.status is Status.COMPLETED
    assert list(h.scopes) == [0]


def test_interrupted_for_each_forgets_the_outputs_it_had():
    h = each(members="output: '${i}',", rest="b: {kind: boundary, attached_to: s, timer: PT1H}", given=[1, 2])
    h.complete("i", 5)
    assert h.kept_outputs
    h.fire("s", "b")
    assert not h.kept_outputs


def test_elements_due_of_a_for_each_that_is_gone_is_stale():
    h = Harness(
        "nodes: {s: {kind: scope, for_each: '${input}', as: e, nodes: {i: {kind: job, topic: t}}}, k: {kind: job, topic: t}}",
        auto=False,
    ).start(list(range(CHUNK + 1)))
    h.skip("s")
    h.auto = True
    h.drain()
    assert h.status is Status.RUNNING
    assert [active.node for _, _, active in h.active()] == ["k"]


def test_join_of_two_for_each_inside_an_element():
    h = each(
        "{a: {kind: scope, for_each: '${[1, 2]}', as: f, nodes: {i: {kind: job, topic: t}}}, b: {kind: job, topic: t},"
        " c: {kind: job, topic: t, join: all}}, flows: [{from: a, to: c}, {from: b, to: c}]",
        given=[1, 2],
    )
    finish(h)
    assert not h.at("c")
    finish(h, "b")
    assert len(h.at("c")) == 2
    finish(h, "c")
    assert h.at("z")
