"""Verification: rows and seals, in feed order, against the chain. What does not fit is named, row by row.

`Verification` is fed rows and then the seal that covers them, again and again, whether they come from the database or from an
exported file. A row that is missing is no finding when a sealed row of the journal says that retention erased it.

What it cannot see by itself: that the newest seals were cut off together with their rows, or, without a key, that the whole chain
was written anew. For that it is given a seal that must be there (`anchor`), and the public key.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_right
from typing import Literal

import msgspec

from penstock.audit.digests import Leaf, row_digest, seal_digest, unpack
from penstock.audit.signing import Check
from penstock.store import seals
from penstock.store.feed import Entry
from penstock.store.seals import ERASED, Seal, parse_ranges

MOST_FINDINGS = 1_000
"""More are counted, not told."""

What = Literal["changed", "moved", "deleted", "inserted", "seal", "file"]


class Finding(msgspec.Struct, frozen=True):
    """Something that does not fit. `feed` names a row, `seal` a seal."""

    what: What
    text: str
    feed: int | None = None
    seal: int | None = None


class Report(msgspec.Struct, frozen=True):
    tenant: str
    seals: int
    signed: int
    rows: int
    """Rows found as they were sealed."""
    erased: int
    """Rows that retention has removed."""
    unsealed: int
    """Rows above the last seal: nothing is known of them yet."""
    last_seal: int
    last_digest: str
    """With the number: what to write down and give as the anchor next time."""
    signing_stopped: int | None
    """The first seal without a signature after one that has one."""
    findings: list[Finding]
    found: int
    """How many findings there are, those not told included."""


class Verification:
    def __init__(
        self, tenant: str, check: Check | None = None, anchor: tuple[int, str] | None = None, start: int = 1
    ) -> None:
        """`tenant`: public id. `start`: the first feed number that is given; what seals say of rows below it is let be."""
        self._tenant = tenant
        self._start = start
        self._check = check
        self._anchor = anchor
        self._rows: dict[int, Entry] = {}
        """Not yet covered by a seal."""
        self._last: Seal | None = None
        self._missing = array("q")
        self._erased: list[tuple[int, int]] = []
        self._odd: list[tuple[int, bytes, Literal["changed", "inserted"], Entry]] = []
        """Rows that are not what was sealed under their number: what they are now."""
        self._lost: dict[bytes, int] = {}
        """Digest -> number under which it was sealed, where it is not found any more."""
        self._bare = array("q")
        """Seals without a signature since the last that has one, once there was one."""
        self._stopped: int | None = None
        self._findings: list[Finding] = []
        self._found = self._seals = self._signed = self._sound = 0

    # -- input -------------------------------------------------------------------------------------------------------

    def row(self, row: Entry) -> None:
        """The next row, in feed order, before its seal."""
        if self._rows.setdefault(row.feed, row) != row:
            self._odd.append((row.feed, row_digest(self._tenant, row), "inserted", row))

    def stray(self, text: str) -> None:
        """A row without a number where every row has one."""
        self._tell(Finding("inserted", text))

    def erasure(self, feeds: str) -> None:
        """Retention has removed rows with these numbers."""
        with contextlib.suppress(ValueError):
            self._erased += parse_ranges(feeds)

    def cut_off(self) -> None:
        """An exported file ends before its end."""
        self._tell(Finding("file", "the file is cut off: its last line is not the end of an export"))

    def seal(self, seal: Seal) -> None:
        """The next seal. The rows up to it have been given."""
        self._seals += 1
        self._check_seal(seal)
        try:
            leaves = unpack(seal.leaves)
        except ValueError as error:
            self._odd_seal(seal, f"its list of rows cannot be read: {error}")
            leaves = []
        self._check_leaves(seal, leaves)
        for feed, digest in leaves:
            if feed < self._start:
                continue
            row = self._rows.pop(feed, None)
            found = None if row is None else row_digest(self._tenant, row)
            if found == digest:
                self._sound += 1
                if row is not None and _is_erasure(row):
                    self.erasure(seals.erased(row))
                continue
            self._lost[digest] = feed
            if row is None or found is None:
                self._missing.append(feed)
            else:
                self._odd.append((feed, found, "changed", row))
        for feed in [feed for feed in self._rows if feed <= seal.to_feed]:
            row = self._rows.pop(feed)
            self._odd.append((feed, row_digest(self._tenant, row), "inserted", row))
        self._last = seal

    # -- seals -------------------------------------------------------------------------------------------------------

    def _check_seal(self, seal: Seal) -> None:
        last = self._last
        number, previous = (0, "")
        if last is not None:
            number, previous = last.number, last.digest
        elif self._start > 1:  # where a part begins, the chain goes on from what cannot be seen
            number, previous = seal.number - 1, seal.previous
        if seal.number != number + 1:
            missing = f"seal {number + 1}" if seal.number == number + 2 else f"seals {number + 1} to {seal.number - 1}"
            self._odd_seal(seal, f"{missing} before it {'is' if seal.number == number + 2 else 'are'} missing")
        elif seal.previous != previous:
            self._odd_seal(seal, f"it does not follow from seal {number}")
        if seal_digest(self._tenant, seal) != seal.digest:
            self._odd_seal(seal, "its digest is not of what it says")
        self._check_outside(seal)

    def _check_outside(self, seal: Seal) -> None:
        """Against what is not in the database: the seal that was written down, and the key."""
        if self._anchor is not None and self._anchor[0] == seal.number:
            if self._anchor[1] != seal.digest:
                self._odd_seal(seal, "it is not the seal that was written down under this number")
            self._anchor = None
        if seal.signature is None:
            # seals of the time before there was a key are bound by the first that is signed
            if self._signed:
                self._bare.append(seal.number)
                self._stopped = self._stopped or seal.number
            return
        self._tell_bare()
        if self._check is None or self._check(seal.digest, seal.signature):
            self._signed += 1
        else:
            self._odd_seal(seal, "its signature is not of this key")

    def _tell_bare(self) -> None:
        """A run of seals that are not signed is one finding, when there is a key."""
        if self._bare and self._check is not None:
            first, last = self._bare[0], self._bare[-1]
            text = (
                f"seal {first}: it is not signed, and those before it are"
                if first == last
                else f"seals {first} to {last}: they are not signed, and those before them are"
            )
            self._tell(Finding("seal", text, None, first))
        self._bare = array("q")

    def _check_leaves(self, seal: Seal, leaves: list[Leaf]) -> None:
        if not leaves or (len(leaves), leaves[0].feed, leaves[-1].feed) != (seal.rows, seal.from_feed, seal.to_feed):
            self._odd_seal(seal, "its list of rows is not what it says it is")
        if self._last is not None and seal.from_feed <= self._last.to_feed:
            self._odd_seal(seal, f"it begins before seal {self._last.number} ends")

    # -- the end -----------------------------------------------------------------------------------------------------

    def end(self) -> Report:
        """All has been given."""
        self._tell_bare()
        erased = self._settle_missing()
        for feed, digest, what, row in sorted(self._odd, key=lambda odd: odd[0]):
            sealed_as = self._lost.get(digest)
            if sealed_as is not None and sealed_as != feed:
                text = f"{_name(row)} was sealed as number {sealed_as} and stands at {feed}"
                self._tell(Finding("moved", text, feed))
            elif what == "changed":
                self._tell(Finding(what, f"{_name(row)} is not what was sealed as number {feed}", feed))
            else:
                self._tell(Finding(what, f"{_name(row)} was put in at number {feed} after its time was sealed", feed))
        if self._anchor is not None:
            self._tell(
                Finding("seal", f"seal {self._anchor[0]}, which was written down, is not there", None, self._anchor[0])
            )
        if self._check is not None and self._seals and not self._signed:
            self._tell(Finding("seal", "no seal is signed with this key"))
        last = self._last
        return Report(
            tenant=self._tenant, seals=self._seals, signed=self._signed, rows=self._sound, erased=erased,
            unsealed=len(self._rows), last_seal=last.number if last else 0, last_digest=last.digest if last else "",
            signing_stopped=self._stopped,
            findings=sorted(self._findings, key=lambda each: (each.feed or 0, each.seal or 0)), found=self._found,
        )  # fmt: skip

    def _settle_missing(self) -> int:
        """Tell what is missing and was not erased by retention; answers how many rows were."""
        # what was erased a moment ago is in a row that is not sealed yet
        for row in self._rows.values():
            if _is_erasure(row):
                self.erasure(seals.erased(row))
        runs = sorted(self._erased)
        starts = [low for low, _ in runs]
        moved = {self._lost.get(digest) for _, digest, _, _ in self._odd}
        erased = 0
        for feed in self._missing:
            at = bisect_right(starts, feed) - 1
            if at >= 0 and feed <= runs[at][1]:
                erased += 1
            elif feed not in moved:
                self._tell(Finding("deleted", f"the row that was sealed as number {feed} is gone", feed))
        return erased

    def _odd_seal(self, seal: Seal, text: str) -> None:
        self._tell(Finding("seal", f"seal {seal.number}: {text}", None, seal.number))

    def _tell(self, finding: Finding) -> None:
        self._found += 1
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(finding)


def _is_erasure(row: Entry) -> bool:
    return row.type == ERASED and not row.of_process


def _name(row: Entry) -> str:
    if row.of_process:
        of = f"process {row.process}" if row.process else f"a process that is not there (number {row.pid})"
        return f"{row.type}, step {row.seq} of {of},"
    return f"{row.type} of {row.kind} {row.subject!r} in the journal"
