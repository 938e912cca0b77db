"""Messages go to one waiter, or start a process, or are kept for a time; signals go to whoever listens now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.core import codec
from penstock.core import events as ev
from penstock.errors import Invalid, Problem
from penstock.identity.model import Actor
from penstock.identity.policy import Action, require
from penstock.operations.context import Context, KeptAnswer, new_uuid
from penstock.operations.jobs import check_size
from penstock.operations.views import Sent
from penstock.store import definitions, messages, processes, starters
from penstock.store.rows import Tx

LONGEST_NAME = 200
CHUNK = 200
"""Listeners told of a signal in one unit."""


async def publish(
    ctx: Context,
    actor: Actor,
    name: str,
    key: str,
    payload: Any,
    message_id: str | None,
    ttl: float,
    idempotency_key: str | None = None,
) -> Sent:
    """Send a message. With an id that was seen before it changes nothing.

    Raises: Invalid, TooLarge, Forbidden.
    """
    require(actor, Action.MESSAGE_SEND)
    _check_name(name)
    check_size(payload, "/payload")
    tid, text = actor.tenant.tid, codec.encode_json(payload)
    id = message_id or new_uuid()

    def unit(tx: Tx) -> Sent:
        if not messages.keep(tx, tid, name, key, id, text, tx.now + int(ttl * 1000)):
            return Sent(id, duplicate=True)
        if not messages.waits(tx, tid, name, key):
            starter = starters.of_message(tx, tid, name)
            if starter is not None:
                did, vid, node = starter
                _fit(tx, vid, payload)
                held = processes.create(tx, tid=tid, id=new_uuid(), did=did, vid=vid, created_by=actor.principal)
                event = ev.Started(at=tx.now, actor=actor.principal, input=payload, start=node, payload=payload)
                ctx.engine.start(held, event)
                messages.consume(tx, tid, name, id)
                return Sent(id, duplicate=False)
        ctx.engine.match_later(tx, tid, name, key)
        return Sent(id, duplicate=False)

    request = ["message", name, key, payload, message_id, ttl]
    sent, _ = await ctx.once(actor, idempotency_key, request, unit, Sent)
    return sent


def _fit(tx: Tx, vid: int, payload: Any) -> None:
    """What starts a process is its input. Raises: Invalid."""
    problems = definitions.unfit(definitions.version(tx, vid)[1], "input", payload)
    if problems:
        moved = [Problem("/payload" + each.pointer.removeprefix("/input"), *each[1:]) for each in problems]
        raise Invalid("the message starts a process, and does not fit the schema of its input", moved)


async def broadcast(ctx: Context, actor: Actor, name: str, payload: Any, idempotency_key: str | None = None) -> int:
    """Send a signal to every process that listens for it. Answers how many subscriptions got it.

    The answer is kept under its key with the last listeners: a broadcast that a crash cut short goes out again.
    """
    require(actor, Action.SIGNAL_SEND)
    _check_name(name)
    check_size(payload, "/payload")
    tid, text, id = actor.tenant.tid, codec.encode_json(payload), new_uuid()

    kept = KeptAnswer(actor, idempotency_key, ["signal", name, payload], int) if idempotency_key is not None else None

    def chunk(delivered: int, after: tuple[int, int]) -> Callable[[Tx], tuple[int, tuple[int, int] | None]]:
        def unit(tx: Tx) -> tuple[int, tuple[int, int] | None]:
            known = kept.recall(tx) if kept is not None else None
            if known is not None:
                return known[0], None
            found = messages.listeners(tx, tid, name, after, CHUNK)
            for waiter in found:
                messages.deliver(tx, waiter, name, id, text, signal=True)
                ctx.engine.wake_later(tx, waiter.pid, tid)
            so_far = delivered + len(found)
            if len(found) >= CHUNK:
                return so_far, (found[-1].pid, found[-1].n)
            if kept is not None:
                kept.keep(tx, so_far)
            return so_far, None

        return unit

    delivered, after = await ctx.store.submit_async(chunk(0, (0, -1)))
    while after is not None:
        delivered, after = await ctx.store.submit_async(chunk(delivered, after))
    return delivered


def _check_name(name: str) -> None:
    if not name or len(name) > LONGEST_NAME:
        raise Invalid(f"a name has 1 to {LONGEST_NAME} characters", [Problem("/name", "length", "name")])
