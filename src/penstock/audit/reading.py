"""Where a verification gets rows and seals from: the database, or a file that was exported (lines of `operations.audit`)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from penstock.audit.signing import Check
from penstock.audit.verification import Report, Verification
from penstock.core.durations import parse_time
from penstock.errors import Invalid, NotFound
from penstock.store import Read, feed, people, seals
from penstock.store.feed import Entry
from penstock.store.reader import Reader
from penstock.store.seals import Seal

SEALS = 10
"""Seals read, with their rows, in one snapshot."""
ROWS = 1_000
LIMIT = 60.0
"""Seconds a read may take."""
Anchor = tuple[int, str]


def tenants(reader: Reader, code: str | None) -> list[tuple[int, str, str]]:
    """(tid, public id, code) of all tenants, or of one. Raises: NotFound."""
    found = reader.read(people.tenants)
    if code is not None:
        found = [each for each in found if each[2] == code]
        if not found:
            raise NotFound("tenant", code)
    return found


def verify_database(
    reader: Reader, tid: int, tenant: str, check: Check | None = None, anchor: Anchor | None = None
) -> Report:
    """Everything a tenant has. The server may run meanwhile."""
    verification = Verification(tenant, check, anchor)
    number, position = 0, -feed.NEVER  # a row with a number below 1 was put in by somebody
    while True:
        chunk, position = reader.read(lambda read: _part(read, verification, tid, number, position), limit=LIMIT)  # noqa: B023
        if not chunk:
            break
        number = chunk
    reader.read(lambda read: _rest(read, verification, tid, position), limit=LIMIT)
    return verification.end()


def _part(read: Read, to: Verification, tid: int, number: int, position: int) -> tuple[int, int]:
    """The next seals with their rows; answers the last one's number (0: there is none) and where it ends."""
    found = seals.after(read, tid, number, SEALS)
    for seal in found:
        position = _rows(read, to, tid, position, seal.to_feed)
        to.seal(seal)
    return (found[-1].number if found else 0), position


def _rows(read: Read, to: Verification, tid: int, position: int, upto: int) -> int:
    while True:
        rows = feed.after(read, tid, position, ROWS, upto)
        for row in rows:
            to.row(row)
        if len(rows) < ROWS:
            return max(position, upto if upto < feed.NEVER else 0)
        position = rows[-1].feed


def _rest(read: Read, to: Verification, tid: int, position: int) -> None:
    _rows(read, to, tid, position, feed.NEVER)
    for text in feed.strays(read, tid):
        to.stray(text)


class Head(msgspec.Struct, frozen=True):
    id: str
    code: str


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of an export: its beginning (`audit`), a row, a seal, or its end."""

    audit: int | None = None
    tenant: Head | None = None
    feed: int | None = None
    at: str | None = None
    actor: str = ""
    type: str = ""
    content: str = ""
    process: str | None = None
    definition: str | None = None
    seq: int | None = None
    scope: int | None = None
    visit: int | None = None
    journal: int | None = None
    kind: str | None = None
    subject: str | None = None
    seal: int | None = None
    from_feed: int | None = msgspec.field(default=None, name="from")
    to_feed: int | None = msgspec.field(default=None, name="to")
    count: int | None = None
    previous: str = ""
    leaves: str = ""
    digest: str = ""
    signature: str | None = None
    erased: str | None = None
    end: bool = False


def verify_file(lines: Iterable[bytes], check: Check | None = None, anchor: Anchor | None = None) -> Report:
    """An export, or several of one tenant one after the other. Raises: Invalid for what is none."""
    verification: Verification | None = None
    tenant, ended = "", False
    decode = msgspec.json.Decoder(Line).decode
    for number, text in enumerate(lines, 1):
        try:
            line = decode(text)
            if line.audit is not None:
                tenant, verification = _begun(line, tenant, verification, check, anchor)
                ended = False
            elif verification is None:
                raise ValueError("an export begins with a line that says so")
            elif line.end:
                ended = True
            elif line.erased is not None:
                verification.erasure(line.erased)
            elif line.seal is not None:
                verification.seal(_seal(line))
            else:
                verification.row(_row(line))
        except (ValueError, msgspec.MsgspecError) as error:
            raise Invalid(f"line {number} is not one of an audit export: {error}") from None
    if verification is None:
        raise Invalid("the file is empty")
    if not ended:
        verification.cut_off()
    return verification.end()


def _begun(
    line: Line, tenant: str, verification: Verification | None, check: Check | None, anchor: Anchor | None
) -> tuple[str, Verification]:
    if line.audit != 1 or line.tenant is None:
        raise ValueError("this program reads exports of format 1")
    if verification is None:
        return line.tenant.id, Verification(line.tenant.id, check, anchor, line.from_feed or 1)
    if line.tenant.id != tenant:
        raise ValueError("here begins an export of another tenant")
    return tenant, verification


def _seal(line: Line) -> Seal:
    at = line.at
    if line.seal is None or line.from_feed is None or line.to_feed is None or line.count is None or at is None:
        raise ValueError("a seal has seal, from, to, count and at")
    chain = (line.previous, line.leaves, line.digest, line.signature)
    return Seal(line.seal, line.from_feed, line.to_feed, line.count, parse_time(at), *chain)


def _row(line: Line) -> Entry:
    if line.feed is None or line.at is None or (line.journal is None) == (line.seq is None):
        raise ValueError("a row has feed and at, and journal or seq")
    head = (line.feed, parse_time(line.at), line.actor, line.type, line.content)
    if line.journal is not None:
        return Entry(*head, jid=line.journal, kind=line.kind, subject=line.subject)
    return Entry(*head, process=line.process, pid=0, seq=line.seq, scope=line.scope, visit=line.visit)
