"""What must hold of a database at rest: rows agree with each other, and the fold of a process's history is its state.

The fold replays the recorded events through the decider and carries its commands out on plain dictionaries, independently of
the store.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from penstock.core import codec, decider, migration
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.arming import boundary_waits, is_timer, waits
from penstock.core.decider import Step
from penstock.core.definition import Boundary, Call, Http, Item, Job, Robot, ScopeNode, Version
from penstock.core.state import ENDED, FAILED_PHASES, RETRY, TERMINATION, TIMEOUT, Phase, Process, Scope, Status
from penstock.store import definitions, search
from penstock.store.reader import Read

OPEN = ("OPEN", "FAILED")


def problems(read: Read, dialect: str, began: dict[int, int]) -> list[str]:
    """Everything that is wrong."""
    found = _feed(read, dialect)
    database = Database(read)
    for pid in database.processes:
        try:
            found += [f"process {pid}: {problem}" for problem in Checked(database, pid, began.get(pid)).problems()]
        except Exception as error:
            raise AssertionError(f"process {pid} cannot be checked") from error
    known = set(database.processes)
    for table in ("jobs", "timers", "subscriptions", "item_grants", "scopes", "visits", "history", "data", "items"):
        found += [f"{table}: a row of process {pid}, which is not there" for pid in database.pids[table] - known]
    return found


def _feed(read: Read, dialect: str) -> list[str]:
    rows = read.rows("SELECT feed, pid, seq FROM history ORDER BY feed")
    # one order for both: what happens to processes and what is done else
    feeds = [feed for feed, _, _ in rows] + [feed for (feed,) in read.rows("SELECT feed FROM journal")]
    found = []
    if None in feeds:
        found.append("history without feed number")
    if len(set(feeds)) != len(feeds):
        found.append("a feed number stands twice")
    if dialect != "sqlite" and None not in feeds and sorted(feeds) != list(range(1, len(feeds) + 1)):
        found.append("feed numbers have gaps")
    last: dict[int, int] = {}
    for _, pid, seq in rows:
        if last.get(pid, 0) >= seq:
            found.append(f"feed numbers of process {pid} are not in its order")
        last[pid] = seq
    return found


class Database:
    """All rows, read once."""

    def __init__(self, read: Read) -> None:
        def table(name: str, order: str) -> list[dict[str, Any]]:
            columns = definitions.tables.metadata.tables[name].columns.keys()
            rows = read.rows(f"SELECT {', '.join(columns)} FROM {name} ORDER BY {order}")
            return [dict(zip(columns, row, strict=True)) for row in rows]

        self.processes = {row["pid"]: row for row in table("processes", "pid")}
        self.versions = {row["vid"]: row for row in table("versions", "vid")}
        self.of: dict[str, dict[int, list[dict[str, Any]]]] = {}
        self.pids: dict[str, set[int]] = {}
        orders = {"inbox": "iid", "history": "pid, seq", "data": "pid, name", "search": "pid, name"}
        orders |= {"process_values": "pid, key"}
        for name in (
            *(
                "history",
                "visits",
                "scopes",
                "jobs",
                "items",
                "timers",
                "subscriptions",
                "item_grants",
                "inbox",
                "data",
            ),
            *("search", "process_values"),
        ):
            by_pid: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for row in table(name, orders.get(name, "pid, n")):
                by_pid[row["pid"]].append(row)
            self.of[name] = by_pid
            self.pids[name] = set(by_pid)

    def version(self, vid: int) -> Version:
        row = self.versions[vid]
        return definitions.compiled(row["digest"], row["document"])

    def numbered(self, did: int, number: int) -> Version:
        [vid] = [vid for vid, row in self.versions.items() if row["did"] == did and row["number"] == number]
        return self.version(vid)


class Checked:
    """One process."""

    def __init__(self, database: Database, pid: int, began: int | None) -> None:
        self.database = database
        self.pid = pid
        self.row = database.processes[pid]
        self.version = database.version(self.row["vid"])
        self.began = self.version if began is None else database.numbered(self.row["did"], began)
        self.status = Status(self.row["status"])
        rows = {name: by_pid.get(pid, []) for name, by_pid in database.of.items()}
        self.rows = rows
        self.scopes = {row["n"]: codec.decode_scope(row["state"]) for row in rows["scopes"] if row["state"]}
        self.outputs = {row["n"]: codec.decode_json(row["output"]) for row in rows["scopes"] if not row["state"]}
        self.inbox = [codec.decode_event(row["event"]) for row in rows["inbox"]]

    def problems(self) -> list[str]:
        found = [*self.sequence()]
        if self.row["seq"] == 0:
            return found
        found += self.fold()
        found += self.ended() if self.status in ENDED else self.counters() + self.open_ends()
        return found + self.grants() + self.searchable()

    def sequence(self) -> list[str]:
        numbers = [row["seq"] for row in self.rows["history"]]
        if numbers != list(range(1, self.row["seq"] + 1)):
            return [f"seq is {self.row['seq']}, history has {numbers[:5]}… ({len(numbers)})"]
        return []

    # -- ended -----------------------------------------------------------------------------------------------------

    def ended(self) -> list[str]:
        found = [f"ended, and has {name}" for name in ("jobs", "timers", "subscriptions") if self.rows[name]]
        found += [f"ended, and has scope {row['n']}" for row in self.rows["scopes"] if row["n"]]
        found += ["ended, and its inbox has kept events" for row in self.rows["inbox"] if row["kept"] == 1][:1]
        found += [f"ended, and visit {row['n']} is open" for row in self.rows["visits"] if row["state"] in OPEN]
        found += [
            f"ended, and item {row['n']} is open"
            for row in self.rows["items"]
            if row["ended_at"] is None and row["waits"]
        ]
        if self.row["ended_at"] is None:
            found.append("ended without ended_at")
        if self.row["incidents"] or self.row["retrying"] or self.row["running"]:
            found.append("ended with counters")
        return found

    # -- open ------------------------------------------------------------------------------------------------------

    def counters(self) -> list[str]:
        actives = [active for scope in self.scopes.values() for active in scope.active.values()]
        incidents = sum(active.phase in FAILED_PHASES for active in actives)
        retrying = sum(active.retrying for active in actives)
        found = []
        root = self.scopes[0]
        if not self.row["incidents"] == incidents == root.incidents:
            found.append(f"incidents: row {self.row['incidents']}, root {root.incidents}, visits {incidents}")
        if not self.row["retrying"] == retrying == root.retrying:
            found.append(f"retrying: row {self.row['retrying']}, root {root.retrying}, visits {retrying}")
        if self.row["ended_at"] is not None:
            found.append("ended_at of a process that has not ended")
        return found

    def open_ends(self) -> list[str]:
        if self.status is Status.TERMINATING:
            return self.terminating()
        found: list[str] = []
        active = {n: (scope, each) for scope in self.scopes.values() for n, each in scope.active.items()}
        visits = {row["n"]: row for row in self.rows["visits"] if row["state"] in OPEN}
        if set(active) != set(visits):
            found.append(f"active {sorted(active)} and open visits {sorted(visits)} differ")
        required: dict[str, set[Any]] = defaultdict(set)
        allowed: dict[str, set[Any]] = defaultdict(set)
        for n, (scope, each) in active.items():
            self._ends(n, scope, each, required, allowed)
        there: dict[str, set[Any]] = {
            "jobs": {row["n"] for row in self.rows["jobs"]},
            "items": {row["n"] for row in self.rows["items"] if row["ended_at"] is None and row["waits"]},
            "timers": {(row["n"], row["purpose"]) for row in self.rows["timers"]},
            "subscriptions": {(row["n"], row["purpose"]) for row in self.rows["subscriptions"]},
            "scopes": {n for n in self.scopes if n and self.scopes[n].index is None},
            "children": {
                row["parent_visit"]
                for row in self.database.processes.values()
                if row["parent_pid"] == self.pid and Status(row["status"]) not in ENDED
            },
        }
        for name, have in there.items():
            found += [f"{name}: {end} is missing" for end in required[name] - have]
            if name != "children":  # one that was cancelled may live on for a moment
                found += [f"{name}: {end} belongs to nothing" for end in have - required[name] - allowed[name]]
        return found + self.elements()

    def _ends(
        self, n: int, scope: Scope, active: Any, required: dict[str, set[Any]], allowed: dict[str, set[Any]]
    ) -> None:
        graph = self.version.places[active.node]
        node = graph.nodes[active.node]
        answered = any(isinstance(event, ev.VisitEvent) and event.visit == n for event in self.inbox)
        must = allowed if answered else required
        if active.phase is Phase.RUN:
            match node:
                case Job() | Http() | Robot():
                    must["jobs"].add(n)
                    if node.retry.timeout is not None:
                        must["timers"].add((n, TIMEOUT))
                case Item():
                    must["items"].add(n)
                case Call():
                    must["children"].add(n)
                case ScopeNode():
                    required["scopes"].add(n)
            for purpose, trigger in waits(graph, node):
                must["timers" if is_timer(trigger) else "subscriptions"].add((n, purpose))
        elif active.phase is Phase.BACKOFF:
            must["timers"].add((n, RETRY))
        if active.armed:
            for purpose, trigger in boundary_waits(graph, active.node):
                boundary = graph.nodes[purpose]
                assert isinstance(boundary, Boundary)
                once = not boundary.interrupting and is_timer(trigger)
                (allowed if once or answered else required)["timers" if is_timer(trigger) else "subscriptions"].add(
                    (n, purpose)
                )

    def elements(self) -> list[str]:
        found = []
        kept = set(self.outputs)
        for n, scope in self.scopes.items():
            if scope.each is None:
                continue
            rows = range(scope.each.first, scope.each.first + scope.each.total)
            alive = [self.scopes[i] for i in rows if i in self.scopes]
            if len(alive) + scope.each.done != scope.each.total:
                found.append(f"for_each {n}: {len(alive)} elements alive, {scope.each}")
            kept -= set(rows)
        return found + [f"scope {n}: an output nobody waits for" for n in kept]

    def terminating(self) -> list[str]:
        told = [row for row in self.rows["jobs"] if row["told"]]
        found = []
        if len(told) != len(self.rows["jobs"]) or self.row["running"] != len(told):
            found.append(f"terminating: {self.row['running']} running, {len(told)} told, {len(self.rows['jobs'])} jobs")
        if [(row["n"], row["purpose"]) for row in self.rows["timers"]] != [(0, TERMINATION)]:
            found.append(f"terminating: timers {self.rows['timers']}")
        if self.rows["subscriptions"]:
            found.append("terminating: subscriptions")
        return found

    def grants(self) -> list[str]:
        expected = set()
        for row in self.rows["items"]:
            grantees = set()
            if row["state"] == "READY":
                grantees = {*codec.decode_json(row["candidates"]), row["owner"]} - {None}
            elif row["state"] == "CLAIMED":
                grantees = {row["owner"], row["delegator"]} - {None}
            order = (row["n"], row["created_at"], row["due_at"], row["priority"])
            expected |= {(grantee, *order) for grantee in grantees}
        have = {
            (row["grantee"], row["n"], row["created_at"], row["due_at"], row["priority"])
            for row in self.rows["item_grants"]
        }
        return [f"grants: {sorted(have)}, not {sorted(expected)}"] if have != expected else []

    def searchable(self) -> list[str]:
        data = {row["name"]: codec.decode_json(row["value"]) for row in self.rows["data"]}
        row = self.database.processes[self.pid]
        expected = {("created_by", row["created_by"])}
        if row["ended_at"] is not None:
            expected.add(("ended", search.time_key(row["ended_at"])))
        if row["incidents"]:
            expected.add(("incidents", ""))
        expected |= search.entries(self.version, data)
        have = {(entry["name"], entry["value"]) for entry in self.rows["search"]}
        times = {entry["created_at"] for entry in self.rows["search"]} - {row["created_at"]}
        problems = [f"search: {sorted(have)}, not {sorted(expected)}"] if have != expected else []
        return problems + [f"search: {sorted(times)} are not when it was created" for _ in times]

    # -- the fold --------------------------------------------------------------------------------------------------

    def fold(self) -> list[str]:
        values = {row["key"]: codec.decode_json(row["value"]) for row in self.rows["process_values"]}
        fold = Fold(self.row["id"], self.began, values)
        for row in self.rows["history"]:
            event = codec.decode_event(row["data"])
            problem = fold.apply(event, self.database, self.row["did"])
            if problem:
                return [f"fold: history {row['seq']} ({row['type']}): {problem}"]
        found = []
        if fold.scopes != self.scopes:
            for n in sorted(fold.scopes.keys() | self.scopes.keys()):
                if fold.scopes.get(n) != self.scopes.get(n):
                    found.append(f"fold: scope {n} is {fold.scopes.get(n)}, stored {self.scopes.get(n)}")
        if fold.kept != self.outputs:
            found.append(f"fold: outputs of elements are {fold.kept}, stored {self.outputs}")
        names = ("status", "seq", "next_n", "at", "incidents", "retrying", "retries", "running")
        folded = tuple(getattr(fold.process, name) for name in names)
        stored = tuple(self.row[name] for name in names)
        if folded != stored:
            found.append(f"fold: process is {folded}, stored {stored}")
        data = {row["name"]: codec.decode_json(row["value"]) for row in self.rows["data"]}
        if fold.sets != data:
            found.append(f"fold: data is {fold.sets}, stored {data}")
        return found + self._folded_visits(fold)

    def _folded_visits(self, fold: Fold) -> list[str]:
        found = []
        for row in self.rows["visits"]:
            state = fold.visits.get(row["n"], {}).get("state")
            if state != row["state"] and not (fold.told and {state, row["state"]} <= {"OPEN", "FAILED", "CANCELLED"}):
                found.append(f"fold: visit {row['n']} ({row['node']}) is {state}, stored {row['state']}")
            output = None if row["output"] is None else codec.decode_json(row["output"])
            if fold.visits.get(row["n"], {}).get("output") != output:
                found.append(f"fold: output of visit {row['n']} differs")
            if (row["ended_at"] is None) != (row["state"] in OPEN):
                found.append(f"visit {row['n']} is {row['state']} and ended at {row['ended_at']}")
        if len(fold.visits) != len(self.rows["visits"]):
            found.append(f"fold: {len(fold.visits)} visits, stored {len(self.rows['visits'])}")
        return found


class Fold:
    """State made from events alone. It is the decider's view, too."""

    def __init__(self, process_id: str, version: Version, values: dict[str, Any]) -> None:
        self.process_id = process_id
        self.version = version
        self.process = Process()
        self.scopes: dict[int, Scope] = {}
        self.kept: dict[int, Any] = {}
        self.visits: dict[int, dict[str, Any]] = {}
        self.sets: dict[str, Any] = {}
        self.told = False
        self._values = values

    def scope(self, n: int) -> Scope:
        return self.scopes[n]

    def output(self, visit: int) -> Any:
        return self.visits[visit].get("output")

    def input(self, visit: int) -> Any:
        return self.visits[visit].get("input")

    def data(self, name: str) -> Any:
        return self.sets.get(name)

    def values(self) -> dict[str, Any]:
        return self._values

    def element_outputs(self, scope: int) -> list[Any]:
        each = self.scopes[scope].each
        assert each is not None
        return [self.kept.get(each.first + index) for index in range(each.total)]

    def apply(self, event: ev.AnyEvent, database: Database, did: int) -> str | None:
        step: Step | decider.Rejected
        if isinstance(event, ev.Started):
            step = decider.start(self.version, self, event)
        elif isinstance(event, ev.Migrated):
            new = database.numbered(did, event.version)
            scopes = [self.scopes[n] for n in sorted(self.scopes)]
            plan = migration.plan(self.version, new, self.process, self, scopes, event)
            if plan.problems:
                return f"{plan.problems}"
            step = Step(plan.process, plan.scopes, plan.visits, plan.commands)
            self.version = new
        else:
            step = decider.step(self.version, self.process, self, event)
        if isinstance(step, decider.Rejected):
            return step.message
        self.process = step.process
        for visit in step.visits:
            self._visit(visit)
        for command in step.commands:
            self._carry(command)
        self.scopes |= step.scopes
        return None

    def _visit(self, command: Any) -> None:
        row = self.visits.setdefault(command.n, {})
        for name in ("scope", "state", "input", "output", "node", "kind"):
            value = getattr(command, name, msgspec.UNSET)
            if value is not msgspec.UNSET:
                row[name] = value

    def _carry(self, command: do.Command) -> None:
        match command:
            case do.CreateElements():
                for index, value in enumerate(command.values):
                    n = command.first + index
                    self.scopes[n] = Scope(
                        n=n, parent=command.scope, node=command.node, index=index, vars={command.name: value}
                    )
            case do.DropScope():
                self._drop(command)
            case do.Withdraw():
                self._end(set(self.visits), command.state)
                self.scopes = {n: scope for n, scope in self.scopes.items() if n == 0}
                self.kept = {}
            case do.TellJobs():
                self.told = True
            case do.SupersedeVisits():
                for n, row in self.visits.items():
                    ended = row["state"] not in OPEN
                    if row["scope"] == command.scope and row["node"] in command.nodes and ended and n < command.before:
                        row["state"] = "SUPERSEDED"
            case do.SetData():
                self.sets[command.name] = command.value
            case do.RenameVisit():
                self.visits[command.n]["node"] = command.node

    def _drop(self, command: do.DropScope) -> None:
        n = command.n
        if command.state is not None:
            below = {n}
            edges = [(m, scope.parent) for m, scope in self.scopes.items()]
            edges += [(m, row["scope"]) for m, row in self.visits.items() if row["kind"] == "scope"]
            for m, parent in sorted(edges, key=lambda edge: edge[0]):
                if parent in below:
                    below.add(m)
            self._end({m for m, row in self.visits.items() if row["scope"] in below}, command.state)
            first = [self.scopes[m].each for m in below if m in self.scopes and self.scopes[m].each]
            for each in first:
                self.kept = {m: v for m, v in self.kept.items() if not each.first <= m < each.first + each.total}
            for m in below:
                self.scopes.pop(m, None)
            return
        gone = self.scopes.pop(n, None)
        if command.output is not msgspec.UNSET:
            self.kept[n] = command.output
        if command.collected:
            assert gone is None or gone.each is not None
            self.kept = {m: v for m, v in self.kept.items() if self._of_another(m)}

    def _of_another(self, element: int) -> bool:
        """Whether an ended element belongs to a for_each that is still open."""
        eaches = [scope.each for scope in self.scopes.values() if scope.each is not None]
        return any(each.first <= element < each.first + each.total for each in eaches)

    def _end(self, visits: set[int], state: Any) -> None:
        for n in visits:
            if self.visits[n]["state"] in OPEN:
                self.visits[n]["state"] = state
