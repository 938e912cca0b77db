"""Values as a running job reaches them: the job's token is the only credential.

A token lives as long as its job, and no longer than the job is in nobody else's hands: when the job ends, is tried again, is
given to somebody else, or its process ends, the token is as if it had never been (docs/decisions/0007). Whoever calls must
also name the job rightly; what does not fit is refused like a wrong token, and which part it was is not told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from typing import Any, TypeVar

from penstock.core import codec
from penstock.core.requests import JobClaim
from penstock.core.run import HTTP_KIND, HTTP_TOPIC
from penstock.errors import Unauthenticated
from penstock.identity.model import Actor, Kind, Tenant
from penstock.identity.tokens import hash_secret, same
from penstock.operations.context import Context, KeptAnswer
from penstock.operations.jobs import check_key, check_size, job_id
from penstock.store import claims, definitions, jobs, lookups, processes, values
from penstock.store.reader import Read
from penstock.store.rows import Rows, Tx

T = TypeVar("T")

LARGEST = 1024 * 1024
"""Bytes of a value as JSON."""


class Place:
    """Where a claim points, and what of it never changes: looked up before the unit."""

    __slots__ = ("claim", "hash", "identity", "n")

    def __init__(self, claim: JobClaim, identity: claims.Identity, n: int) -> None:
        self.claim = claim
        self.identity = identity
        self.n = n
        self.hash = hash_secret(claim.token)

    def owner(self, *, of_process: bool) -> tuple[Rows, int]:
        """Whose values: the process's, or its definition's, which all its processes share."""
        if of_process:
            return values.OF_PROCESS, self.identity.pid
        return values.OF_DEFINITION, self.identity.did

    def require(self, row: jobs.Row, number: int, earlier: Callable[[], Container[str]]) -> None:
        """The token is the job's, and the job is the one the claim names. `number`: of the version it was handed out in;
        `earlier`: that version's nodes, where its process has left it since.

        Raises: Unauthenticated.
        """
        claim = self.claim
        good = (
            row.token_hash is not None
            and same(row.token_hash, self.hash)
            and claim.version == str(number)
            and claim.execution == str(jobs.execution_id(row.n, row.attempt))
            and (claim.node in (row.node, kind_of(row.queue)) or claim.node in earlier())
        )
        if not good:
            raise refused()


def kind_of(queue: str) -> str:
    topic = jobs.topic_of(queue)
    return HTTP_KIND if topic == HTTP_TOPIC else topic


def refused() -> Unauthenticated:
    return Unauthenticated("the token is not that of an open job, or the job is another")


async def _place(ctx: Context, claim: JobClaim) -> Place:
    """Raises: Unauthenticated, LimitExceeded."""
    place = ctx.engine.place_of(claim.token)
    identity = None if place is None else await ctx.identity(place[0])
    if place is None or identity is None:
        raise refused()
    if claim.process.lower() != identity.id or not (
        claim.definition == identity.code or claim.definition.lower() == identity.definition_id
    ):
        raise refused()
    await ctx.limits.admit_job(identity.tid)
    return Place(claim, identity, place[1])


async def _counted(ctx: Context, place: Place, work: Awaitable[T]) -> T:
    """A request of the job's tenant, unless it turns out that the token is none of its. Raises: what the work does."""
    try:
        return await work
    except Unauthenticated:
        ctx.limits.was_nobody(place.identity.tid)
        raise


# -- reading ---------------------------------------------------------------------------------------------------------


async def get(ctx: Context, claim: JobClaim, key: str, *, of_process: bool) -> Any:
    """A value; None where there is none. Raises: Invalid, Unauthenticated."""
    check_key(key)
    place = await _place(ctx, claim)
    _, owner = place.owner(of_process=of_process)

    def read(reader: Read) -> Any:
        _require_read(reader, place)
        found = lookups.value(reader, owner, key, of_process=of_process)
        return None if found is None else found[0]

    return await _counted(ctx, place, ctx.store.async_read(read))


def _require_read(reader: Read, place: Place) -> None:
    identity = place.identity
    found = claims.job(reader, identity.pid, place.n)
    if found is None:
        raise refused()
    row, number, now_at = found

    def earlier() -> Container[str]:
        version = None if row.vid == now_at else lookups.version_by_vid(reader, identity.tid, row.vid)
        return () if version is None else version.compiled.places

    place.require(row, number, earlier)


# -- writing ---------------------------------------------------------------------------------------------------------


async def put(
    ctx: Context, claim: JobClaim, key: str, value: Any, *, of_process: bool, idempotency_key: str | None = None
) -> None:
    """Raises: Invalid, TooLarge, Unauthenticated."""
    check_key(key)
    check_size(value, "/value", LARGEST)
    text = codec.encode_json(value)
    place = await _place(ctx, claim)
    rows, owner = place.owner(of_process=of_process)
    request = ["job.put", owner, key, value]
    await _write(
        ctx, place, rows, request, lambda tx: values.put(tx, rows, owner, key, text), type(None), idempotency_key
    )


async def increment(
    ctx: Context, claim: JobClaim, key: str, *, of_process: bool, idempotency_key: str | None = None
) -> int:
    """Add exactly 1; an absent key becomes 1. Raises: Invalid, Unauthenticated, Conflict when it is not an integer."""
    check_key(key)
    place = await _place(ctx, claim)
    rows, owner = place.owner(of_process=of_process)
    request = ["job.increment", owner, key]
    return await _write(
        ctx, place, rows, request, lambda tx: values.increment(tx, rows, owner, key), int, idempotency_key
    )


async def _write(
    ctx: Context,
    place: Place,
    rows: Rows,
    request: list[Any],
    write: Callable[[Tx], T],
    kind: type[T],
    idempotency_key: str | None,
) -> T:
    """The look at the token and the write are one unit: the job is open in the very commit that keeps the value."""
    identity = place.identity
    kept = None
    if idempotency_key is not None:
        kept = KeptAnswer(_job_as_actor(place), idempotency_key, [*request, place.hash], kind)

    def unit(tx: Tx) -> T:
        _require_in(tx, place)
        if kept is None:
            return write(tx)
        known = kept.recall(tx)
        if known is not None:
            return known[0]
        answer = write(tx)
        kept.keep(tx, answer)
        return answer

    # the process is named even where a definition's value is written: only so the job stays what it is until the commit
    keys: tuple[int, ...] = (identity.pid,)
    if rows is values.OF_DEFINITION:
        keys = (identity.pid, values.unit_key(rows, identity.did))
    return await _counted(ctx, place, ctx.store.submit_async(unit, keys))


def _require_in(tx: Tx, place: Place) -> None:
    row = jobs.get(tx, place.identity.pid, place.n)
    if row is None:
        raise refused()
    number, version = definitions.version(tx, row.vid)

    def earlier() -> Container[str]:
        held = processes.load(tx, row.pid)
        return () if held is None or held.vid == row.vid else version.places

    place.require(row, number, earlier)


def _job_as_actor(place: Place) -> Actor:
    identity = place.identity
    tenant = Tenant(tid=identity.tid, id=identity.tenant_id, code=identity.tenant_code)
    return Actor(tenant=tenant, principal=f"job:{job_id(identity.id, place.n)}", kind=Kind.SYSTEM)
