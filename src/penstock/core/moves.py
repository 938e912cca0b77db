"""The loop of a step: every token moves as far as it goes, joins are judged after every move, empty scopes close."""

from __future__ import annotations

from penstock.core.definition import Driver
from penstock.core.entering import begin
from penstock.core.events import Failure
from penstock.core.incidents import open_incident
from penstock.core.joins import judge, report_stuck
from penstock.core.run import Run
from penstock.core.scopes import close, start_next
from penstock.core.state import ENDED, ROOT, Phase

MAX_MOVES = 1_000
"""Nodes run in one step before an incident stops it."""


def settle(run: Run) -> None:
    """Until nothing moves any more."""
    process = run.process
    while process.status not in ENDED:
        if run.queue:
            scope_n, code = run.queue.popleft()
            _activate(run, scope_n, code)
            judge(run, scope_n)
        elif run.dirty:
            n = next(iter(run.dirty))
            del run.dirty[n]
            _examine(run, n)
        elif run.starting:
            start_next(run)
        else:
            break


def _activate(run: Run, scope_n: int, code: str) -> None:
    """A token runs a node: a new visit."""
    node = run.node(code)
    n = run.open_visit(scope_n, node)
    run.moves += 1
    if run.moves > MAX_MOVES:
        failure = Failure("TooManyMoves", f"more than {MAX_MOVES:,} moves in one step: a loop without a wait?")
        open_incident(run, scope_n, n, Phase.ENTER_FAILED, failure)
    else:
        begin(run, scope_n, n, node)


def _examine(run: Run, n: int) -> None:
    """A scope in which nothing moves: a join may be due, or can never be; no token may be left."""
    scope = run.peek(n)
    if scope.each is not None or (n == ROOT and run.version.driver is not Driver.GRAPH):
        return
    if scope.waiting:
        if not judge(run, n):
            report_stuck(run, n)
    elif not scope.active:
        close(run, n)
