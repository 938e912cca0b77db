"""A process as one unit holds it: its row, its version, and the view the decider reads (`core.run.View`).

Decoded state is cached under an *epoch*: the sequence number at which this node read the process from the database, or
dropped scopes by statements over many rows. On PostgreSQL another node may have moved the process since; its row, which
the group has locked, then has another number, and a new epoch begins.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, select

from penstock.core import codec
from penstock.core.definition import Version
from penstock.core.state import Each, Process, Scope
from penstock.errors import Defect
from penstock.store import tables
from penstock.store.rows import DATA, PROCESS_VALUES, SCOPES, VISITS

_values = tables.process_values.c
_VALUES = select(_values.key, _values.value).where(_values.pid == bindparam("pid")).order_by(_values.key)
_scopes = tables.scopes.c
_ELEMENT_OUTPUTS = select(_scopes.n, _scopes.output).where(
    _scopes.pid == bindparam("pid"),
    _scopes.n >= bindparam("first"),
    _scopes.n < bindparam("end"),
    _scopes.output.is_not(None),
)


class Held(msgspec.Struct, eq=False):
    """A process as one unit holds it. It is the decider's view (`core.run.View`), too."""

    tx: Any
    """The unit's `Tx`; None in a cache."""
    pid: int
    tid: int
    process_id: str
    did: int
    vid: int
    number: int
    """Of the version."""
    version: Version
    process: Process
    created_by: str
    created_at: int
    parent: tuple[int, int, int] | None
    """The calling process: pid, scope, visit."""
    depth: int
    epoch: int

    def scope(self, n: int) -> Scope:
        key = (self.pid, self.epoch, n)
        found = self.tx.cached("scope", key)
        if found is None:
            row = self.tx.get(SCOPES, (self.pid, n))
            if row is None or not row[3]:
                raise KeyError(n)
            found = codec.decode_scope(row[3])
            self.tx.cache("scope", key, found)
        assert isinstance(found, Scope)
        return found

    def _visit(self, n: int) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self.tx.get(VISITS, (self.pid, n))
        if row is None:
            raise Defect(f"process {self.process_id}: no row of visit {n}")
        return row

    def node_of(self, visit: int) -> str | None:
        """The node a visit is of; None where there is no such visit."""
        row: tuple[Any, ...] | None = self.tx.get(VISITS, (self.pid, visit))
        return None if row is None else row[3]

    def output(self, visit: int) -> Any:
        key = (self.pid, self.epoch, visit)
        found = self.tx.cached("output", key)
        if found is None:
            text = self._visit(visit)[8]
            found = (None if text is None else codec.decode_json(text),)
            self.tx.cache("output", key, found)
        assert isinstance(found, tuple)
        return found[0]

    def input(self, visit: int) -> Any:
        text = self._visit(visit)[7]
        return None if text is None else codec.decode_json(text)

    def data(self, name: str) -> Any:
        key = (self.pid, self.epoch, name)
        found = self.tx.cached("data", key)
        if found is None:
            row = self.tx.get(DATA, (self.pid, name))
            found = (None if row is None else codec.decode_json(row[2]),)
            self.tx.cache("data", key, found)
        assert isinstance(found, tuple)
        return found[0]

    def values(self) -> dict[str, Any]:
        rows = self.tx.select(_VALUES, {"pid": self.pid}, of=[PROCESS_VALUES])
        return {key: codec.decode_json(value) for key, value in rows}

    def element_outputs(self, scope: int) -> list[Any]:
        each = self.scope(scope).each
        assert isinstance(each, Each)
        outputs: list[Any] = [None] * each.total
        of = {"pid": self.pid, "first": each.first, "end": each.first + each.total}
        for n, text in self.tx.select(_ELEMENT_OUTPUTS, of, of=[SCOPES]):
            outputs[n - each.first] = codec.decode_json(text)
        return outputs
