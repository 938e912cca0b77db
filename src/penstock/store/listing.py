"""Lists of processes: any filter alone or with others, by keyset, from the end of a range of an index.

Theory of operation
  Each filter names a *range*: the entries of an index it keeps, in one or several *parts* (a part for each status, say). A
  range in the order of the list gives a page from the ends of its parts: rows are taken in order until the page is full,
  and looked at for the other filters. A range in another order (a prefix, a span of numbers or of ends) is read whole and
  sorted; one with few different values is taken as these, and is in order again.
  Where several filters are given their ranges are counted up to `PEEK` entries and the smallest is read: with 10 FAILED
  processes nobody walks through a customer's 100,000.
  A list by creation with no range is the merge of all statuses. Lists by end read the entries that hold ends; lists by the
  last change have no index, and sort what the smallest range has.
  Processes of one creation time are in the order of their numbers, so a position is (time…, pid).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, exists, func, literal_column, select, tuple_
from sqlalchemy.sql import visitors

from penstock.core.requests import Condition, Filter
from penstock.core.state import ENDED, Status
from penstock.store import search, tables, visibility
from penstock.store.reader import Read
from penstock.store.visibility import Sight

PEEK = (2_000, 20_000)
"""Up to how many entries ranges are compared; further only where the first look does not tell."""
FEW_PARTS = 40
"""Parts that are read as they are; of more, those that begin first."""
FEW_VALUES = 12
"""Different values of a span that are looked up one by one."""

# those first that have most
STATUSES = tuple(sorted((status.value for status in Status), key=lambda value: value != Status.COMPLETED))
THAT_ENDED = tuple(status for status in STATUSES if status in ENDED)

_p, _d, _v = tables.processes.c, tables.definitions.c, tables.versions.c
_x = tables.search.alias("x")

Position = Sequence[int]
Term = ColumnElement[bool]


class Found(NamedTuple):
    """A process of a page, with its position in the list."""

    pid: int
    position: tuple[int, ...]


class _Searched(NamedTuple):
    """A condition on searchable values: one of `keys`, or from `low` to before `high`."""

    own: str
    name: str
    keys: tuple[str, ...]
    low: str = ""
    high: str = ""

    def span(self, column: ColumnElement[str]) -> list[Term]:
        return [column >= self.low, column < self.high]


class _Range(NamedTuple):
    """What one filter keeps."""

    source: FromClause
    terms: list[Term]
    own: frozenset[str]
    """Which filters it has applied."""
    parts: list[dict[str, Any]]
    """Values of the parameters in `terms`, for each part."""
    ordered: bool = True
    """Each part is in the order of the list, where that is by creation, or by end for the range of ends."""


def page(reader: Read, tid: int, wanted: Filter, after: Position | None, most: int) -> list[Found]:
    """A page of the list, from behind the position `after`, of what `wanted.viewer` may see."""
    plans = [plan for plan in _plans(reader, tid, wanted, after) if not plan.nothing]
    if len(plans) == 1:
        return plans[0].page(most)
    found = {each for plan in plans for each in plan.page(most)}
    return sorted(found, key=lambda each: each.position, reverse=not wanted.oldest)[:most]


def count(reader: Read, tid: int, wanted: Filter) -> int:
    """How many processes there are of what `wanted.viewer` may see. Reads all entries of the smallest ranges."""
    return sum(plan.count() for plan in _plans(reader, tid, wanted, None) if not plan.nothing)


def _plans(reader: Read, tid: int, wanted: Filter, after: Position | None) -> Iterator[_Plan]:
    """One, or where definitions are hidden from the viewer one for all the others, and two for what is theirs of these.

    No process is in two of them.
    """
    viewer = wanted.viewer
    sight = Sight() if viewer is None else visibility.sight(reader, tid, viewer, wanted.definition)
    if viewer is None or not sight.hidden:
        yield _Plan(reader, tid, wanted, after)
        return
    if not sight.nothing:
        yield _Plan(reader, tid, wanted, after, [_p.did.not_in(sight.hidden)], sight.seen)
    hidden = _p.did.in_(sight.hidden)
    if wanted.created_by is None or wanted.created_by == viewer.principal:
        yield _Plan(reader, tid, wanted._replace(created_by=viewer.principal), after, [hidden])
    others = _p.created_by != viewer.principal
    yield _Plan(reader, tid, wanted, after, [hidden, others, _p.pid.in_(visibility.concerned(tid, viewer))])


def vids(reader: Read, tid: int, definition: str | None, version: int | None) -> list[int]:
    """The versions a filter means, newest first."""
    statement = select(_v.vid).join(tables.definitions, _d.did == _v.did).where(_d.tid == tid)
    if definition is not None:
        statement = statement.where(_d.code == definition)
    if version is not None:
        statement = statement.where(_v.number == version)
    return [vid for (vid,) in reader.rows(statement.order_by(_v.vid.desc()), {})]


def has_name(reader: Read, tid: int, name: str) -> bool:
    """Whether any process is found by this name."""
    return bool(reader.rows(select(_x.c.pid).where(_x.c.tid == tid, _x.c.name == name).limit(1), {}))


class _Plan:
    """How one page is read."""

    def __init__(
        self,
        reader: Read,
        tid: int,
        wanted: Filter,
        after: Position | None,
        terms: Sequence[Term] = (),
        dids: Sequence[int] | None = None,
    ) -> None:
        """`terms`: more that must hold of a process. `dids`: the only definitions there are, where they are few."""
        self.terms = terms
        self.tid = tid
        self.reader = reader
        self.after = after
        self.statuses = _possible(wanted)
        """Those that processes of the list may have."""
        if wanted.statuses:
            wanted = wanted._replace(statuses=self.statuses)
        if wanted.ended_to is not None:  # nothing ends before it was created
            earlier = wanted.ended_to if wanted.created_to is None else min(wanted.ended_to, wanted.created_to)
            wanted = wanted._replace(created_to=earlier)
        self.wanted = wanted
        nobody = (
            wanted.created_from is not None and (wanted.created_to or wanted.created_from + 1) <= wanted.created_from
        )
        self.nothing = not self.statuses or nobody
        self.vids: list[int] | None = None
        if wanted.definition is not None or wanted.version is not None:
            self.vids = vids(reader, tid, wanted.definition, wanted.version)
        elif dids is not None:
            of_dids = select(_v.vid).where(_v.tid == tid, _v.did.in_(dids)).order_by(_v.vid.desc())
            self.vids = [vid for (vid,) in reader.rows(of_dids, {})]
        self.nothing |= self.vids == []
        if not self.nothing:
            self.searched = [self._as_values(each) for each in _searched(wanted.search)]
            self.range = self._choose()

    def page(self, most: int) -> list[Found]:
        each, parts = self.range, self.range.parts
        statement = self._ordered(each)
        if len(parts) > FEW_PARTS:
            parts = self._beginning_first(statement, most)
        rows = [row for part in parts for row in self.reader.rows(statement.limit(most), part)]
        if len(parts) > 1:
            rows.sort(reverse=not self.wanted.oldest)
        return [Found(row[-1], tuple(map(int, row))) for row in rows[:most]]

    def count(self) -> int:
        statement = select(func.count()).select_from(self._filtered(self.range).subquery())
        return sum(self.reader.rows(statement, part)[0][0] for part in self.range.parts)

    def _beginning_first(self, statement: Select[Any], most: int) -> list[dict[str, Any]]:
        """A page of so many rows has rows of so many parts at most: of those that begin first."""
        heads = [(rows[0], part) for part in self.range.parts if (rows := self.reader.rows(statement.limit(1), part))]
        heads.sort(key=lambda head: tuple(head[0]), reverse=not self.wanted.oldest)
        return [part for _, part in heads[:most]]

    # -- ranges --------------------------------------------------------------------------------------------------------

    def _ranges(self) -> list[_Range]:
        """One for each filter that has an index; those first that are likely to be small."""
        wanted = self.wanted
        found = [self._values(each) for each in self.searched]
        if wanted.incidents:
            found.append(self._entries("incidents", search.INCIDENTS, [""]))
        if wanted.created_by is not None:
            found.append(self._entries("created_by", search.CREATED_BY, [wanted.created_by]))
        if wanted.parent_pid is not None:
            terms = [_p.parent_pid == wanted.parent_pid, _p.tid == self.tid]
            found.append(_Range(tables.processes, terms, frozenset({"parent"}), [{}]))
        if self.vids is not None:
            parts = [{"of_vid": vid} for vid in self.vids]
            found.append(_Range(tables.processes, [_p.vid == bindparam("of_vid")], frozenset({"version"}), parts))
        if wanted.statuses:
            found.append(self._states(wanted.statuses))
        if wanted.ended_from is not None or wanted.ended_to is not None:
            found.append(self._ends())
        return found

    def _values(self, searched: _Searched) -> _Range:
        if searched.keys:
            return self._entries(searched.own, searched.name, searched.keys)
        terms = [_x.c.tid == self.tid, _x.c.name == searched.name, *searched.span(_x.c.value)]
        return _Range(_x, terms, frozenset({searched.own}), [{}], ordered=False)

    def _entries(self, own: str, name: str, values: Iterable[str]) -> _Range:
        terms = [_x.c.tid == self.tid, _x.c.name == name, _x.c.value == bindparam("of_value")]
        return _Range(_x, terms, frozenset({own}), [{"of_value": value} for value in values])

    def _states(self, statuses: Iterable[str]) -> _Range:
        terms = [_p.tid == self.tid, _p.status == bindparam("of_status")]
        parts = [{"of_status": status} for status in statuses]
        return _Range(tables.processes, terms, frozenset({"status"}), parts)

    def _ends(self) -> _Range:
        wanted, terms = self.wanted, [_x.c.tid == self.tid, _x.c.name == search.ENDED]
        if wanted.ended_from is not None:
            terms.append(_x.c.value >= search.time_key(wanted.ended_from))
        if wanted.ended_to is not None:
            terms.append(_x.c.value < search.time_key(wanted.ended_to))
        return _Range(_x, terms, frozenset({"ended"}), [{}], ordered=wanted.sort == "ended")

    def _as_values(self, searched: _Searched) -> _Searched:
        """A span with few different values, as these: then its processes are in the order of the list."""
        if searched.keys:
            return searched
        of = (_x.c.tid == self.tid, _x.c.name == searched.name, _x.c.value < searched.high)
        following = select(_x.c.value).where(*of, _x.c.value > bindparam("last")).order_by(_x.c.value).limit(1)
        first = select(_x.c.value).where(*of, _x.c.value >= searched.low).order_by(_x.c.value).limit(1)
        found = [value for (value,) in self.reader.rows(first, {})]
        while found and len(found) <= FEW_VALUES:
            rows = self.reader.rows(following, {"last": found[-1]})
            if not rows:
                return searched._replace(keys=tuple(found))
            found.append(rows[0][0])
        return searched

    # -- which of them -------------------------------------------------------------------------------------------------

    def _choose(self) -> _Range:
        """The range to read: the smallest, or where all are large the smallest that is in the list's order."""
        ranges = self._ranges()
        in_order = [each for each in ranges if self._in_order(each)]
        if len(ranges) == 1 and in_order:
            return ranges[0]
        sizes = [self._size(each, PEEK[0]) for each in ranges]
        if ranges and min(sizes) < PEEK[0]:
            return ranges[sizes.index(min(sizes))]
        names = [name for each in in_order for name in each.own]
        if names == ["version", "status"] and Status.COMPLETED not in self.wanted.statuses:
            return in_order[1]  # its index has the version, too, and hardly any state has as many as COMPLETED
        if len(in_order) > 1:
            sizes = [self._size(each, PEEK[1]) for each in in_order]
            return in_order[sizes.index(min(sizes))]
        if self.wanted.sort == "ended":
            return self._ends()
        searched = [each for each in ranges if not each.ordered and "ended" not in each.own]
        unsorted = ranges if self.wanted.sort == "modified" else []
        return next(iter((*in_order, *searched, *unsorted, self._states(self.statuses))))

    def _size(self, each: _Range, most: int) -> int:
        """How many entries a range has, as far as that matters."""
        entries: Select[Any] = select(literal_column("1")).select_from(each.source)
        limited = entries.where(*each.terms, *self._bounds(each)).limit(bindparam("left", type_=_p.pid.type)).subquery()
        statement, found = select(func.count()).select_from(limited), 0
        for part in each.parts:
            found += self.reader.rows(statement, {**part, "left": most - found})[0][0]
            if found >= most:
                break
        return found

    def _in_order(self, each: _Range) -> bool:
        """Whether the list is in the order of the range's index."""
        return each.ordered and self.wanted.sort == ("ended" if "ended" in each.own else "created")

    # -- statements ----------------------------------------------------------------------------------------------------

    def _columns(self, each: _Range) -> list[ColumnElement[Any]]:
        """What the list is in the order of."""
        created_at, pid = each.source.c.created_at, each.source.c.pid
        match self.wanted.sort:
            case "ended":
                return [_x.c.value if "ended" in each.own else _p.ended_at, created_at, pid]
            case "modified":
                return [_p.at, created_at, pid]
            case _:
                return [created_at, pid]

    def _ordered(self, each: _Range) -> Select[Any]:
        columns = self._columns(each)
        ways = [column.asc() if self.wanted.oldest else column.desc() for column in columns]
        return self._filtered(each).order_by(*ways)

    def _filtered(self, each: _Range) -> Select[Any]:
        """A part of a range, with the other filters and from behind the position."""
        columns, terms = self._columns(each), [*each.terms, *self._bounds(each), *self._others(each)]
        if self.after is not None:
            values: list[Any] = list(self.after)
            if columns[0] is _x.c.value:
                values[0] = search.time_key(values[0])
            here, there = tuple_(*columns), tuple_(*values)
            terms.append(here > there if self.wanted.oldest else here < there)
        statement = select(*columns).select_from(each.source)
        if each.source is _x and any(map(_of_process, (*columns, *terms))):
            statement = statement.join(tables.processes, _p.pid == _x.c.pid)
        return statement.where(*terms)

    def _bounds(self, each: _Range) -> list[Term]:
        """Of creation. The one that the position lies behind is left out, so that the index is entered at the position."""
        wanted, found, created_at = self.wanted, [], each.source.c.created_at
        behind = self.after is not None and wanted.sort == "created"
        if wanted.created_from is not None and not (behind and wanted.oldest):
            found.append(created_at >= wanted.created_from)
        if wanted.created_to is not None and not (behind and not wanted.oldest):
            found.append(created_at < wanted.created_to)
        return found

    def _others(self, each: _Range) -> list[Term]:
        """The filters that the range has not applied."""
        wanted = self.wanted
        found: list[tuple[str, Term]] = []
        if wanted.statuses:
            found.append(("status", _p.status.in_(wanted.statuses)))
        if wanted.incidents is not None:
            found.append(("incidents", _p.incidents > 0 if wanted.incidents else _p.incidents == 0))
        if self.vids is not None:
            found.append(("version", _p.vid.in_(self.vids)))
        if wanted.created_by is not None:
            found.append(("created_by", _p.created_by == wanted.created_by))
        if wanted.parent_pid is not None:
            found.append(("parent", _p.parent_pid == wanted.parent_pid))
        if wanted.ended_from is not None:
            found.append(("ended", _p.ended_at >= wanted.ended_from))
        if wanted.ended_to is not None:
            found.append(("ended", _p.ended_at < wanted.ended_to))
        if wanted.sort == "ended":
            found.append(("ended", _p.ended_at.is_not(None)))
        own = each.own
        found += [("", term) for term in self.terms]
        found += [(other.own, self._has(each, other)) for other in self.searched if other.own not in own]
        return [term for name, term in found if name not in own]

    def _has(self, each: _Range, searched: _Searched) -> Term:
        y, source = tables.search.alias("y"), each.source.c
        of = (y.c.tid == self.tid, y.c.name == searched.name)
        if searched.keys:
            same = (y.c.created_at == source.created_at, y.c.pid == source.pid)
            return exists().where(*of, y.c.value.in_(searched.keys), *same)
        # read once, not for each process
        return source.pid.in_(select(y.c.pid).where(*of, *searched.span(y.c.value)).correlate(None))


def _possible(wanted: Filter) -> tuple[str, ...]:
    kept = wanted.statuses or STATUSES
    if wanted.ended_from is not None or wanted.ended_to is not None or wanted.sort == "ended":
        kept = tuple(status for status in kept if status in THAT_ENDED)
    if wanted.incidents is False:
        kept = tuple(status for status in kept if status != Status.FAILED)
    return kept


def _searched(conditions: Iterable[Condition]) -> list[_Searched]:
    """What is searched: one by one what must be equal and words, together what bounds the values of one name."""
    found: list[_Searched] = []
    spans: dict[str, tuple[str, str]] = {}
    for condition in conditions:
        own = f"search {len(found)}"
        if not condition.name:
            found.append(_Searched(own, search.WORD, (), condition.value, condition.value + search.LAST))
        elif condition.op == "is":
            found.append(_Searched(own, condition.name, search.keys_of(condition.value)))
        else:
            low, high = _span(condition)
            before = spans.get(condition.name, (low, high))
            spans[condition.name] = max(low, before[0]), min(high, before[1])
    return found + [_Searched(f"span {name}", name, (), *span) for name, span in spans.items()]


def _span(condition: Condition) -> tuple[str, str]:
    """Encoded values: the first that fits, and the first behind those that fit."""
    if condition.op == "prefix":
        key = search.text_key(condition.value)
        return key, key + search.LAST
    key = search.bound_key(condition.value)
    return (key, key[0] + search.LAST) if condition.op == "from" else (key[0], key)


def _of_process(part: ColumnElement[Any]) -> bool:
    """Whether columns of `processes` stand in it."""
    return any(getattr(each, "table", None) is tables.processes for each in visitors.iterate(part))
