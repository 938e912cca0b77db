"""What is digested, and how: rows, the leaves of a seal, seals. Pure; a change here is a new `FORMAT`.

A row's digest is SHA-256 of a JSON array of what the row says, its feed number left out: so a row that was moved is recognised. A
seal lists its rows as leaves, (feed number, digest) each, and its own digest covers the leaves and the digest of the seal before.
The content of a row may go; its leaf stays, and the chain with it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from penstock.store.feed import Entry
from penstock.store.seals import Seal

FORMAT = 1
SIZE = 32
"""Bytes of a digest."""
_encode = msgspec.json.Encoder().encode


class Leaf(NamedTuple):
    feed: int
    digest: bytes


def row_digest(tenant: str, row: Entry) -> bytes:
    """Of a row, of the tenant with this public id."""
    head = (row.at, row.actor, row.type, row.data)
    if row.of_process:
        content: tuple[object, ...] = ("history", tenant, row.process, row.seq, *head, row.scope, row.visit)
    else:
        content = ("journal", tenant, row.jid, *head, row.kind, row.subject)
    return sha256(_encode(content)).digest()


def seal_digest(tenant: str, seal: Seal) -> str:
    """Of a seal, from all its other members but the signature; hexadecimal."""
    leaves = sha256(seal.leaves.encode()).hexdigest()
    content = (
        "seal",
        FORMAT,
        tenant,
        seal.number,
        seal.from_feed,
        seal.to_feed,
        seal.rows,
        seal.at,
        seal.previous,
        leaves,
    )
    return sha256(_encode(content)).hexdigest()


def pack(leaves: Iterable[Leaf]) -> str:
    """Leaves as text: of each the distance from the number before (LEB128), then its digest; base64 of it all."""
    packed, last = bytearray(), 0
    for feed, digest in leaves:
        distance, last = feed - last, feed
        while distance > 0x7F:
            packed.append(distance & 0x7F | 0x80)
            distance >>= 7
        packed.append(distance)
        packed += digest
    return base64.b64encode(packed).decode()


def unpack(text: str) -> list[Leaf]:
    """Raises: ValueError for what `pack` did not make."""
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the leaves are not base64") from error
    leaves: list[Leaf] = []
    at, feed = 0, 0
    while at < len(packed):
        shift = distance = 0
        while True:
            if at >= len(packed) or shift > 63:
                raise ValueError("the leaves end within a number")
            byte = packed[at]
            at += 1
            distance |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        feed += distance
        digest = packed[at : at + SIZE]
        at += SIZE
        if not distance or len(digest) != SIZE:
            raise ValueError("the leaves are not whole")
        leaves.append(Leaf(feed, digest))
    return leaves


def make_seal(tenant: str, number: int, previous: str, rows: Sequence[Entry], at: int) -> Seal:
    """The seal of some rows in feed order, not yet signed."""
    leaves = pack(Leaf(row.feed, row_digest(tenant, row)) for row in rows)
    seal = Seal(number, rows[0].feed, rows[-1].feed, len(rows), at, previous, leaves, "")
    return seal._replace(digest=seal_digest(tenant, seal))
