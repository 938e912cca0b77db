"""Joins: `any`, `all`, inclusive against an oracle that reads BPMN 2.0 by the letter, and joins that can never be complete."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import joins, moves
from penstock.core.definition import Boundary, Join
from penstock.core.state import ENDED, Phase, Status
from support.graphs import FLAGS, Maker
from support.harness import Harness
from support.play import Player


def play(nodes, flows, input=None):
    return Harness(f"nodes: {{{nodes}}}\nflows: [{flows}]").start(input)


def jobs(codes, **members):
    return ", ".join(f"{code}: {{kind: job, topic: t{members.get(code, '')}}}" for code in codes)


# -- any, all ----------------------------------------------------------------------------------------------------------


def test_any_runs_the_node_for_each_token():
    h = play(jobs("abz"), "{from: a, to: z}, {from: b, to: z}")
    h.complete("a").complete("b")
    assert len(h.at("z")) == 2


@pytest.mark.parametrize("join", [jobs("z", z=", join: all"), "z: {kind: gateway, gateway: parallel}"])
def test_all_takes_one_token_of_each_flow(join):
    h = play(f"s: {{kind: start}}, {jobs('ab')}, {join}, {jobs('y')}",
             "{from: s, to: a}, {from: s, to: a}, {from: s, to: b}, {from: a, to: z}, {from: b, to: z}, {from: z, to: y}")  # fmt: skip
    h.complete("a").complete("a")
    assert h.peek().waiting == {"z": {3: 2}}
    h.complete("b")
    assert h.peek().waiting == {"z": {3: 1}}
    ran, stuck = (h.at("y"), h.at("z")) if "gateway" in join else ([h.at("z")[0]], h.at("z")[1:])
    assert len(ran) == len(stuck) == 1
    assert h.phase(stuck[0]) is Phase.STUCK  # nothing is left for b's flow


def test_all_with_one_incoming_flow_is_no_join():
    h = play(jobs("az", z=", join: all"), "{from: a, to: z}")
    h.complete("a")
    assert h.at("z")


def test_join_counts_flows_not_nodes():
    h = play(
        f"a: {{kind: start}}, {jobs('bz', z=', join: all')}",
        "{from: a, to: z}, {from: a, to: z}, {from: a, to: b}, {from: b, to: z}",
    )
    assert h.peek().waiting == {"z": {0: 1, 1: 1}}
    h.complete("b")
    assert h.at("z")


# -- stuck -------------------------------------------------------------------------------------------------------------

CHOICE = "s: {kind: gateway, gateway: exclusive}, x: {kind: set, vars: {v: 1}}, y: {kind: set, vars: {v: 1}}, j: {kind: gateway, gateway: parallel}, "
CHOICE_FLOWS = "{from: s, to: x}, {from: s, to: y}, {from: x, to: j}, {from: y, to: j}, {from: j, to: z}"


def test_join_that_can_never_be_complete_is_an_incident_that_names_its_flows():
    h = play(CHOICE + jobs("z"), CHOICE_FLOWS)
    failure = h.row("j")["failure"]
    assert (failure.type, failure.message) == ("JoinStuck", "the join waits for y-j, which no token can reach any more")
    assert h.phase("j") is Phase.STUCK
    assert h.status is Status.FAILED
    h.skip("j")
    assert h.peek().waiting == {}
    assert h.complete("z").status is Status.COMPLETED


def test_join_is_stuck_as_soon_as_no_token_can_reach_it_whatever_runs_beside():
    h = play(CHOICE + jobs("z") + ", beside: {kind: timer, after: P30D}", CHOICE_FLOWS)
    assert h.phase("j") is Phase.STUCK


def test_failed_visit_may_still_reach_the_join():
    h = play(jobs("abz", z=", join: all"), "{from: a, to: z}, {from: b, to: z}")
    h.complete("a").fail("b", permanent=True)
    assert [active.phase for _, _, active in h.active()] == [Phase.RUN_FAILED]
    h.retry().complete("b")
    assert h.phase("z") is Phase.RUN


def test_boundary_may_still_reach_the_join():
    nodes = jobs("abz", z=", join: all") + ", l: {kind: boundary, attached_to: b, timer: PT1H}"
    h = play(nodes, "{from: a, to: z}, {from: l, to: z}")
    h.complete("a")
    assert h.peek().waiting
    assert h.status is Status.RUNNING
    h.complete("b")
    assert h.phase("z") is Phase.STUCK


def test_restart_empties_a_stuck_join_and_it_is_judged_anew():
    h = play(CHOICE + jobs("z"), CHOICE_FLOWS)
    stuck = h.at("j")[0]
    h.restart("y")
    assert h.row(stuck)["state"] == "SUPERSEDED"
    assert h.row("j")["failure"].message == "the join waits for x-j, which no token can reach any more"


def test_stuck_join_is_completed_by_a_later_token_and_its_incident_is_over():
    h = play(
        CHOICE + jobs("abz", z=", join: all"),
        "{from: s, to: x}, {from: s, to: y}, {from: x, to: j}, {from: y, to: j}, {from: j, to: b}, {from: b, to: z}, {from: a, to: z}",
    )
    h.complete("a")
    assert (h.phase("j"), h.phase("z")) == (Phase.STUCK, Phase.STUCK)
    stuck = h.at("z")[0]
    h.skip("j").complete("b")
    assert h.row(stuck)["state"] == "SUPERSEDED"
    assert h.status is Status.RUNNING
    assert h.complete("z").status is Status.COMPLETED


def test_two_inclusive_joins_that_wait_for_each_other_are_reported():
    gate = "{kind: gateway, gateway: inclusive}"
    h = play(
        f"s: {{kind: start}}, a: {gate}, b: {gate}, x: {{kind: gateway, gateway: exclusive}}, y: {{kind: gateway, gateway: exclusive}}, {jobs('z')}",
        "{from: s, to: a}, {from: s, to: b}, {from: a, to: x}, {from: b, to: y}, {from: x, to: b}, {from: y, to: a},"
        "{from: x, to: z, if: 'false'}, {from: y, to: z, if: 'false'}",
    )
    assert h.status is Status.FAILED
    assert {row["failure"].type for row in h.visits.values() if row["state"] == "FAILED"} == {"JoinStuck"}


# -- inclusive ---------------------------------------------------------------------------------------------------------


def oracle(run, scope, graph, code):
    """BPMN 2.0, table 13.4 (inclusive gateway), by the letter, on nodes and flows alone.

    The join is activated if at least one incoming flow has a token and, for every path that starts with a flow f that has
    a token, ends with an incoming flow of the join that has none, and does not visit the join, there is also a path from
    f that ends with an incoming flow of the join that has a token, and does not visit the join. A token at a node can take any
    of its flows, and those of the node's boundaries.
    """
    incoming = [flow.index for flow in graph.flows if flow.target == code]
    full = [index for index in incoming if scope.waiting.get(code, {}).get(index)]
    if not full:
        return False
    at_nodes = [active.node for active in scope.active.values() if active.phase is not Phase.STUCK]
    at_nodes += [target for n, target in run.queue if n == scope.n] if run is not None else []
    on_flows = [index for other, flows in scope.waiting.items() for index in flows if other != code]
    tokens = [[index] for index in on_flows] + [leaving(graph, node) for node in at_nodes if node != code]
    for begin in tokens:
        reached = walk(graph, begin, code)
        if any(index not in full for index in reached) and not any(index in full for index in reached):
            return False
    return True


def leaving(graph, node):
    """Flows that a token at a node may take."""
    places = [node] + [
        each.code for each in graph.nodes.values() if isinstance(each, Boundary) and each.attached_to == node
    ]
    return [flow.index for flow in graph.flows if flow.source in places]


def walk(graph, begin, code):
    """Incoming flows of the join at the ends of all paths that begin with these flows and do not visit the join."""
    found, todo, seen = set(), list(begin), set()
    while todo:
        index = todo.pop()
        if index in seen:
            continue
        seen.add(index)
        target = graph.flows[index].target
        if target == code:
            found.add(index)
        else:
            todo += leaving(graph, target)
    return found


class Judged:
    """Compares every judgement of the decider with the oracle's, and looks that none is left out."""

    def __init__(self, monkeypatch):
        self.judged = self.due = self.waited = 0
        self.is_due, self.judge = joins.is_due, moves.judge
        monkeypatch.setattr(joins, "is_due", self.check)
        monkeypatch.setattr(moves, "judge", self.check_all)

    def check(self, run, scope, graph, code):
        answer = self.is_due(run, scope, graph, code)
        if graph.nodes[code].join is Join.INCLUSIVE and len(graph.incoming[code]) > 1:
            assert answer is oracle(run, scope, graph, code), (code, scope, run.queue)
            self.judged += 1
            self.due += answer
            self.waited += not answer
        return answer

    def check_all(self, run, scope_n):
        scope = run.changed.get(scope_n)
        due = []
        if scope is not None and scope.waiting:
            graph = run.graph(scope)
            due = [
                code
                for code in scope.waiting
                if graph.nodes[code].join is Join.INCLUSIVE and oracle(run, scope, graph, code)
            ]
        fired = self.judge(run, scope_n)
        assert fired or not due, (due, scope)
        return fired


@pytest.fixture(scope="module")
def judged():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Judged(monkeypatch)


class AtRest(Harness):
    """No inclusive join is due while nothing moves."""

    def check(self):
        super().check()
        if self.status in ENDED or self.status is Status.TERMINATING:
            return
        for n in self.scopes:
            scope = self.peek(n)
            for code in scope.waiting:
                graph = self.graph(scope)
                if graph.nodes[code].join is Join.INCLUSIVE:
                    assert not oracle(None, scope, graph, code)


class Inclusive(Maker):
    """Graphs of little but inclusive gateways."""

    def node(self, depth):
        kind = self.random.random()
        if kind < 0.55:
            return {"kind": "gateway", "gateway": "inclusive"}
        if kind < 0.65:
            return {"kind": "gateway", "gateway": self.random.choice(["parallel", "exclusive"])}
        if kind < 0.7 and depth < self.depth:
            return self.scope(depth)
        return self.plain(depth)

    def plain(self, depth):
        return self.random.choice(
            [{"kind": "job", "topic": "t"}, {"kind": "job", "topic": "t"}, {"kind": "timer", "after": "PT1M"}]
        )

    def more_flows(self, nodes, flows, order):
        for _ in range(3):
            super().more_flows(nodes, flows, order)


@pytest.mark.parametrize("maker", [Inclusive, Maker])
@given(random=st.randoms(use_true_random=False))
def test_inclusive_join_fires_exactly_when_bpmn_says(judged, maker, random):
    definition = maker(random, size=8, depth=1).definition()
    h = AtRest(definition, auto=False).start(FLAGS)
    player = Player(h, random, definition)
    player.ending = 0.05
    for _ in range(15):
        if h.status in ENDED:
            break
        player.world() if random.random() < 0.9 else player.people()


def test_oracle_was_asked(judged):
    """Both answers were compared often enough to mean something."""
    for seed in range(300):
        run_inclusive(seed)
    assert judged.due > 200
    assert judged.waited > 200


def run_inclusive(seed):

    random = Random(seed)
    definition = Inclusive(random, size=8, depth=1).definition()
    h = AtRest(definition, auto=False).start(FLAGS)
    player = Player(h, random, definition)
    for _ in range(12):
        if h.status in ENDED:
            break
        player.world()


INCLUSIVE = "{kind: gateway, gateway: inclusive}"


def test_inclusive_split_and_join_wait_for_those_that_were_taken():
    h = play(
        f"g: {INCLUSIVE}, {jobs('abc')}, j: {INCLUSIVE}, {jobs('z')}",
        "{from: g, to: a, if: input.yes}, {from: g, to: b, if: input.yes}, {from: g, to: c, if: input.no},"
        "{from: a, to: j}, {from: b, to: j}, {from: c, to: j}, {from: j, to: z}",
        FLAGS,
    )
    h.complete("b")
    assert not h.at("z")
    h.complete("a")
    assert len(h.at("z")) == 1
    assert h.complete("z").status is Status.COMPLETED


def test_inclusive_join_does_not_wait_for_a_token_that_may_come_by_a_flow_that_has_one():
    h = play(
        f"{jobs('ab')}, x: {{kind: gateway, gateway: exclusive}}, j: {INCLUSIVE}, {jobs('z')}",
        "{from: a, to: x}, {from: x, to: j, if: input.yes}, {from: b, to: x}, {from: x, to: z, default: true}, {from: b, to: j}, {from: j, to: z}",
        FLAGS,
    )
    h.complete("a")
    assert h.at("z")  # b may reach j by x's flow, which has a token: it holds nothing up


def test_inclusive_join_waits_for_a_boundary_that_may_lead_to_it():
    h = play(
        f"{jobs('abyz')}, late: {{kind: boundary, attached_to: b, timer: PT1H}}, j: {INCLUSIVE}",
        "{from: a, to: j}, {from: late, to: j}, {from: j, to: z}, {from: b, to: y}",
    )
    h.complete("a")
    assert not h.at("z")
    h.complete("b")
    assert h.at("z")


def test_inclusive_joins_are_judged_inside_their_own_scope():
    h = play(
        f"s: {{kind: scope, for_each: '${{[1, 2]}}', as: e, nodes: {{g: {INCLUSIVE}, {jobs('ab')}, j: {INCLUSIVE}, {jobs('k')}}},"
        "flows: [{from: g, to: a}, {from: g, to: b}, {from: a, to: j}, {from: b, to: j}, {from: j, to: k}]}",
        "",
    )
    first = h.at("a")[0], h.at("b")[0]
    h.complete(first[0]).complete(first[1])
    assert len(h.at("k")) == 1
    assert len(h.at("a")) == 1


def test_withdrawn_token_lets_the_join_go_on():
    h = play(
        f"{jobs('ab')}, late: {{kind: boundary, attached_to: b, timer: PT1H}}, j: {INCLUSIVE}, {jobs('yz')}",
        "{from: a, to: j}, {from: b, to: j}, {from: late, to: y}, {from: j, to: z}",
    )
    h.complete("a")
    assert not h.at("z")
    h.fire("b", "late")
    assert h.at("z")
