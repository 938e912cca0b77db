"""What an actor may do. Deny by default: what no line of `_USERS` allows, a user may not.

Applications of the tenant and users with the role `admin` may do everything there; the platform itself acts as `SYSTEM`.
What an actor may not even see does not exist for it: `NotFound`, the same as for a thing that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum

import msgspec

from penstock.errors import Forbidden, NotFound
from penstock.identity.model import Actor, Kind, grantees_of

ADMIN = "admin"


class Action(StrEnum):
    """Everything somebody may want to do."""

    DEFINITION_READ = "definition.read"
    DEFINITION_DEPLOY = "definition.deploy"
    PROCESS_START = "process.start"
    PROCESS_READ = "process.read"
    PROCESS_CONTROL = "process.control"
    """Complete, cancel, terminate, suspend, resume, retry, debug, skip, restart, migrate, signal one."""
    PROCESS_DELETE = "process.delete"
    """Remove an ended process with its history."""
    BULK_RUN = "bulk.run"
    """Begin a bulk operation: what it does to each process is asked for each."""
    BULK_READ = "bulk.read"
    BULK_CONTROL = "bulk.control"
    VALUE_READ = "value.read"
    VALUE_WRITE = "value.write"
    ITEM_READ = "item.read"
    ITEM_CLAIM = "item.claim"
    ITEM_COMPLETE = "item.complete"
    JOB_WORK = "job.work"
    MESSAGE_SEND = "message.send"
    SIGNAL_SEND = "signal.send"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the action is about, as far as policy asks."""

    kind: str
    id: str
    tid: int
    permissions: Mapping[str, Collection[str]] = {}
    """Of the definition: `initiator`, `viewer`, `manager`, `administrator` -> grantees."""
    starter: str | None = None
    """Principal who started the process, or began the bulk operation."""
    candidates: Collection[str] = ()
    """Grantees who may claim the item."""
    owner: str | None = None
    """Principal who has claimed the item."""


_Rule = Callable[[Actor, Target], bool]


def require(actor: Actor, action: Action, target: Target | None = None) -> None:
    """Lets pass or raises.

    Raises: NotFound for what the actor may not see, Forbidden for what it may see and not do.
    """
    if may(actor, action, target):
        return
    if target is not None and not may(actor, _SEEING.get(action, action), target):
        raise NotFound(target.kind, target.id)
    raise Forbidden(f"{actor.principal} may not {action}", action=str(action))


def may(actor: Actor, action: Action, target: Target | None = None) -> bool:
    """Whether the actor may."""
    if actor.kind is Kind.SYSTEM:
        return True
    if target is not None and target.tid != actor.tenant.tid:
        return False
    if actor.kind is Kind.APPLICATION or ADMIN in actor.roles:
        return True
    rule = _USERS.get(action)
    if rule is None:
        return False
    return rule(actor, target if target is not None else _NOTHING)


def _anyone(_actor: Actor, _target: Target) -> bool:
    return True


def _holds(*permissions: str) -> _Rule:
    """Whoever the definition lists under one of these."""

    def rule(actor: Actor, target: Target) -> bool:
        grantees = grantees_of(actor, starter=target.starter)
        return any(not grantees.isdisjoint(target.permissions.get(name, ())) for name in permissions)

    return rule


def _candidate(actor: Actor, target: Target) -> bool:
    return not grantees_of(actor, starter=target.starter).isdisjoint(target.candidates)


def _owner(actor: Actor, target: Target) -> bool:
    return target.owner == actor.principal


def _starter(actor: Actor, target: Target) -> bool:
    return target.starter == actor.principal


def _sees_item(actor: Actor, target: Target) -> bool:
    return _owner(actor, target) or _candidate(actor, target) or _holds("viewer", *_MANAGERS)(actor, target)


def _completes_item(actor: Actor, target: Target) -> bool:
    """An item somebody has claimed is theirs alone."""
    return _owner(actor, target) or (target.owner is None and _candidate(actor, target))


_MANAGERS = ("manager", "administrator")
_NOTHING = Target(kind="", id="", tid=0)

_USERS: Mapping[Action, _Rule] = {
    Action.DEFINITION_READ: _anyone,
    Action.PROCESS_READ: _anyone,
    Action.VALUE_READ: _anyone,
    Action.PROCESS_START: _holds("initiator", *_MANAGERS),
    Action.PROCESS_CONTROL: _holds(*_MANAGERS),
    Action.PROCESS_DELETE: _holds("administrator"),
    Action.BULK_RUN: _anyone,
    Action.BULK_READ: _starter,
    Action.BULK_CONTROL: _starter,
    Action.VALUE_WRITE: _holds(*_MANAGERS),
    Action.ITEM_READ: _sees_item,
    Action.ITEM_CLAIM: _candidate,
    Action.ITEM_COMPLETE: _completes_item,
}

_SEEING: Mapping[Action, Action] = {
    Action.DEFINITION_DEPLOY: Action.DEFINITION_READ,
    Action.PROCESS_START: Action.DEFINITION_READ,
    Action.PROCESS_CONTROL: Action.PROCESS_READ,
    Action.PROCESS_DELETE: Action.PROCESS_READ,
    Action.BULK_CONTROL: Action.BULK_READ,
    Action.VALUE_WRITE: Action.VALUE_READ,
    Action.ITEM_CLAIM: Action.ITEM_READ,
    Action.ITEM_COMPLETE: Action.ITEM_READ,
    Action.JOB_WORK: Action.PROCESS_READ,
    Action.MESSAGE_SEND: Action.PROCESS_READ,
    Action.SIGNAL_SEND: Action.PROCESS_READ,
}
"""What seeing means for each action; a thing is hidden from who may not see it."""
