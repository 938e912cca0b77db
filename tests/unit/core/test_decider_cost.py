"""What a step costs does not depend on how many elements there are."""

from collections import Counter

import pytest

from penstock.core import commands as do
from penstock.core.events import JobCompleted
from support.harness import Harness

MANY = """
nodes:
  a: {kind: job, topic: t}
  s: {kind: scope, for_each: "${input}", as: e, limit: 50, nodes: {
    i: {kind: job, topic: t, input: {e: "${e}", a: "${a}", index: "${loop.index}"}}, k: {kind: set, vars: {x: "${i.x}"}}},
    flows: [{from: i, to: k}]}
  z: {kind: job, topic: t}
flows: [{from: a, to: s}, {from: s, to: z}]
"""


class Meter(Harness):
    """Counts what the steps of one kind of event took."""

    def measure(self, act):
        self.lookups.clear()
        before = self.process.seq
        act()
        assert self.process.seq == before + 1
        step = self.last
        size = sum(len(command.values) for command in step.commands if isinstance(command, do.CreateElements))
        return (
            self.lookups["scope"],
            self.lookups["output"],
            self.lookups["data"],
            self.lookups["element_outputs"],
            len(step.scopes),
            len(step.visits),
            len(step.commands),
            size,
        )


def costs(total):
    """Of the element in the middle of a for_each: its completion. And of the step that opens the for_each."""
    h = Meter(MANY, checked=False).start(list(range(total)))
    opening = h.measure(lambda: h.complete("a", {"y": 1}))
    seen = Counter()
    jobs = h.jobs
    for _ in range(min(total, 200)):
        n = next(iter(jobs))
        scope = h.visits[n]["scope"]
        attempt = jobs[n].attempt
        seen[h.measure(lambda n=n, scope=scope, attempt=attempt: h._do(completed(h, n, scope, attempt)))] += 1
    return opening, seen


def completed(h, n, scope, attempt):

    return JobCompleted(at=h.now, scope=scope, visit=n, attempt=attempt, output={"x": 1})


def test_an_element_costs_the_same_among_ten_and_among_ten_thousand():
    _, few = costs(100)
    _, thousand = costs(1_000)
    opening, many = costs(10_000)
    usual = many.most_common(1)[0][0]
    assert usual == thousand.most_common(1)[0][0] == few.most_common(1)[0][0]
    assert list(many) == [usual]
    lookups, outputs, data, collected, scopes, visits, commands, _ = usual
    assert (lookups, outputs, data, collected) == (4, 1, 0, 0)  # element, for_each, next element, root; output of a
    assert scopes == 2  # the for_each, the next element
    assert visits == 3  # i and k end, the next i begins
    assert commands == 3  # the job is closed, the scope goes, the next job is offered
    assert opening == (1, 0, 1, 0, 52, 52, 52, 10_000)


@pytest.mark.parametrize("total", [10, 1_000])
def test_all_of_a_for_each_takes_steps_in_proportion(total):
    h = Meter(MANY, checked=False).start(list(range(total)))
    h.complete("a", {})
    while not any(job.node == "z" for job in h.jobs.values()):
        n = next(iter(h.jobs))
        h._do(completed(h, n, h.visits[n]["scope"], 1))
    assert h.process.seq == total + 2
    assert sum(row["node"] == "k" for row in h.visits.values()) == total


def test_only_outputs_that_are_read_are_looked_up():
    nodes = ", ".join(f"n{k}: {{kind: job, topic: t}}" for k in range(20))
    flows = ", ".join(f"{{from: n{k}, to: n{k + 1}}}" for k in range(19))
    h = Meter(
        f"nodes: {{{nodes}, z: {{kind: job, topic: t, input: '${{n3.x + nodes.n7.x}}'}}}}\nflows: [{flows}, {{from: n19, to: z}}]"
    )
    h.start()
    for k in range(19):
        h.complete(f"n{k}", {"x": k})
    assert h.measure(lambda: h.complete("n19", {}))[:2] == (1, 2)
    assert h.jobs[h.at("z")[0]].input == 10
