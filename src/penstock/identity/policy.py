"""What an actor may do. Deny by default: what no line of `_USERS` allows, a user may not.

Applications of the tenant and users with the role `admin` may do everything there; the platform itself acts as `SYSTEM`.
Of `ADMINISTRATION` an application may nothing without the role: a worker's secret opens no door to people's accounts.
What `INSTALLATION` names concerns all tenants: it takes the role `operator`, of administrators and applications too. That
role opens no tenant's data.
What an actor may not even see does not exist for it: `NotFound`, the same as for a thing that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum

import msgspec

from penstock.errors import Forbidden, NotFound
from penstock.identity.model import Actor, Kind, grantees_of
from penstock.identity.sentences import SENTENCES

ADMIN = "admin"
MANAGER = "manager"
OPERATOR = "operator"
ROLES = frozenset({ADMIN, MANAGER, OPERATOR})
"""All there are. The first two are of a tenant, `operator` of the installation: only who has it may give it."""

PERMISSIONS = ("initiator", "candidate", "viewer", "manager", "administrator")
"""Of a definition."""


class Action(StrEnum):
    """Everything somebody may want to do."""

    DEFINITION_READ = "definition.read"
    DEFINITION_DEPLOY = "definition.deploy"
    DEFINITION_DECIDE = "definition.decide"
    """Submit, withdraw, approve, reject, activate, retire a version."""
    DEFINITION_GRANT = "definition.grant"
    """Say who may do what with a definition."""
    DEFINITION_GRANTS_READ = "definition.grants.read"
    PEOPLE_ADMINISTER = "people.administer"
    """Users, groups, applications and their tokens."""
    TENANT_ADMINISTER = "tenant.administer"
    INSTALLATION_ADMINISTER = "installation.administer"
    """Tenants and their quotas."""
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
    """Also taking back what one has delegated."""
    ITEM_COMPLETE = "item.complete"
    ITEM_UNCLAIM = "item.unclaim"
    ITEM_DELEGATE = "item.delegate"
    ITEM_DRAFT = "item.draft"
    ITEM_LOG = "item.log"
    ITEM_CONTROL = "item.control"
    """Assign, cancel, change when it is due and how urgent it is; read what was changed in a thread."""
    MESSAGE_ACKNOWLEDGE = "message.acknowledge"
    THREAD_OPEN = "thread.open"
    THREAD_CLOSE = "thread.close"
    POST_WRITE = "post.write"
    POST_CHANGE = "post.change"
    """Edit or delete a post; its author is the target's owner."""
    JOB_WORK = "job.work"
    MESSAGE_SEND = "message.send"
    SIGNAL_SEND = "signal.send"
    DOCUMENT_UPLOAD = "document.upload"
    """Store one that nothing links yet."""
    DOCUMENT_READ = "document.read"
    DOCUMENT_LINK = "document.link"
    """Make one a process's or an item's."""
    DOCUMENT_REMOVE = "document.remove"
    """Unlink or delete one."""
    SCHEDULE_READ = "schedule.read"
    SCHEDULE_WRITE = "schedule.write"
    """Create, update, pause, resume, delete; to run one now is `process.start`."""
    SECRET_READ = "secret.read"  # noqa: S105 - an action
    """Its name and times; nobody reads its value."""
    SECRET_WRITE = "secret.write"  # noqa: S105 - an action
    SECRET_USE = "secret.use"  # noqa: S105 - an action
    """Name one where the definition's author did not."""
    CONNECTION_READ = "connection.read"
    CONNECTION_WRITE = "connection.write"
    """And call through it by hand."""
    AUDIT_READ = "audit.read"
    """The audit's list and export, and events of the journal: no line of `_USERS`, so administrators and applications alone."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the action is about, as far as policy asks."""

    kind: str
    id: str
    tid: int
    permissions: Mapping[str, Collection[str]] | None = None
    """Of the definition, as they are now: `initiator`, `viewer`, `manager`, … -> grantees. None: nobody has looked."""
    starter: str | None = None
    """Principal who started the process, or began the bulk operation."""
    candidates: Collection[str] = ()
    """Grantees who may claim the item."""
    owner: str | None = None
    """Principal who has claimed the item."""
    creator: str | None = None
    """Principal who has stored the document."""
    delegator: str | None = None
    """Principal to whom the item comes back."""
    involved: bool = False
    """The actor has, or has had, an item of the process."""


ADMINISTRATION = frozenset(
    {
        Action.DEFINITION_DECIDE,
        Action.DEFINITION_GRANT,
        Action.DEFINITION_GRANTS_READ,
        Action.PEOPLE_ADMINISTER,
        Action.TENANT_ADMINISTER,
    }
)
"""What takes the role `admin`, or a permission, of applications too."""

INSTALLATION = frozenset({Action.INSTALLATION_ADMINISTER})
"""What takes the role `operator`, of everybody."""

_Rule = Callable[[Actor, Target], bool]


def require(actor: Actor, action: Action, target: Target | None = None) -> None:
    """Lets pass or raises.

    Raises: NotFound for what the actor may not see, Forbidden for what it may see and not do.
    """
    if may(actor, action, target):
        return
    if target is not None and not may(actor, _SEEING.get(action, action), target):
        raise NotFound(target.kind, target.id)
    raise Forbidden(f"{actor.principal} may not {SENTENCES[action]}{_what_it_takes(action)}", action=str(action))


def _what_it_takes(action: Action) -> str:
    """What could be given to somebody so that they may; "" where it hangs on who has to do with the thing."""
    if action in INSTALLATION:
        return f": that takes the role {OPERATOR}"
    rule = _USERS.get(action)
    if rule is None:
        return f": that takes the role {ADMIN}"
    if not isinstance(rule, _Holds):
        return ""
    return f": that takes the definition's permission {' or '.join(rule.permissions)}, or the role {ADMIN}"


def may(actor: Actor, action: Action, target: Target | None = None) -> bool:
    """Whether the actor may."""
    if actor.kind is Kind.SYSTEM:
        return True
    if action in INSTALLATION:
        return OPERATOR in actor.roles
    if target is not None and target.tid != actor.tenant.tid:
        return False
    if ADMIN in actor.roles or (actor.kind is Kind.APPLICATION and action not in ADMINISTRATION):
        return True
    rule = _USERS.get(action)
    if rule is None:
        return False
    return rule(actor, target if target is not None else _NOTHING)


def sees_everything(actor: Actor) -> bool:
    """Whether no list and no page of the tenant's processes hides anything from the actor."""
    return actor.kind is not Kind.USER or ADMIN in actor.roles


def _anyone(_actor: Actor, _target: Target) -> bool:
    return True


class _Holds:
    """Whoever the definition lists under one of these permissions; a refusal names them."""

    def __init__(self, *permissions: str) -> None:
        self.permissions = permissions

    def __call__(self, actor: Actor, target: Target) -> bool:
        grantees = grantees_of(actor, starter=target.starter)
        granted = target.permissions or {}
        return any(not grantees.isdisjoint(granted.get(name, ())) for name in self.permissions)


def _candidate(actor: Actor, target: Target) -> bool:
    return not grantees_of(actor, starter=target.starter).isdisjoint(target.candidates)


def _owner(actor: Actor, target: Target) -> bool:
    return target.owner == actor.principal


def _works_with_item(actor: Actor, target: Target) -> bool:
    return _owner(actor, target) or target.delegator == actor.principal or _candidate(actor, target)


def _claims_item(actor: Actor, target: Target) -> bool:
    return _candidate(actor, target) or target.delegator == actor.principal


def _starter(actor: Actor, target: Target) -> bool:
    return target.starter == actor.principal


def _sees_item(actor: Actor, target: Target) -> bool:
    return _works_with_item(actor, target) or _Holds("viewer", *_MANAGERS)(actor, target)


def _writes_in_item(actor: Actor, target: Target) -> bool:
    return _works_with_item(actor, target) or _Holds(*_MANAGERS)(actor, target)


def _owns_or_controls(actor: Actor, target: Target) -> bool:
    return _owner(actor, target) or _Holds(*_MANAGERS)(actor, target)


def _opens_thread(actor: Actor, target: Target) -> bool:
    """Whoever started the process, and whoever may look after it."""
    return target.starter == actor.principal or _Holds("viewer", *_MANAGERS)(actor, target)


def _completes_item(actor: Actor, target: Target) -> bool:
    """An item somebody has claimed is theirs alone."""
    return _owner(actor, target) or (target.owner is None and _candidate(actor, target))


def _creator(actor: Actor, target: Target) -> bool:
    return target.creator == actor.principal


def _sees_document(actor: Actor, target: Target) -> bool:
    """Its creator's while nothing links it; then of all who see the process, or have to do with the item."""
    if target.kind == "document":
        return _creator(actor, target)
    return may(actor, Action.PROCESS_READ, target) or _sees_item(actor, target)


def _links_document(actor: Actor, target: Target) -> bool:
    """Who may start such processes, who started this one, and whose item it is or may become."""
    concerned = target.starter == actor.principal or _owner(actor, target) or _candidate(actor, target)
    return concerned or _Holds("initiator", *_MANAGERS)(actor, target)


def _removes_document(actor: Actor, target: Target) -> bool:
    return _creator(actor, target) or _Holds(*_MANAGERS)(actor, target)


def _manages(actor: Actor, _target: Target) -> bool:
    return MANAGER in actor.roles


def _sees_process(actor: Actor, target: Target) -> bool:
    """A definition that names viewers shows its processes to them alone, and to who has to do with one of them."""
    if target.permissions is None:
        return False
    if not target.permissions.get("viewer") or target.involved:
        return True
    return target.starter == actor.principal or _Holds(*SEEING)(actor, target)


def _sees_values(actor: Actor, target: Target) -> bool:
    if target.kind == "definition":
        return _sees_process(actor, target) or _Holds("initiator")(actor, target)
    return _sees_process(actor, target)


def _sees_schedule(actor: Actor, target: Target) -> bool:
    """What a definition that names viewers is started with is theirs to know, and of who may start it."""
    return target.permissions is not None and (
        not target.permissions.get("viewer") or _Holds(*SEEING_SCHEDULES)(actor, target)
    )


_MANAGERS = ("manager", "administrator")
SEEING = ("viewer", *_MANAGERS)
"""Permissions that show every process of a definition."""
SEEING_SCHEDULES = ("initiator", *SEEING)
"""Permissions that show its schedules."""
_NOTHING = Target(kind="", id="", tid=0)

_USERS: Mapping[Action, _Rule] = {
    Action.DEFINITION_READ: _anyone,
    Action.DEFINITION_DEPLOY: _Holds("administrator"),
    Action.DEFINITION_DECIDE: _Holds(*_MANAGERS),
    Action.DEFINITION_GRANT: _Holds("administrator"),
    Action.DEFINITION_GRANTS_READ: _Holds(*_MANAGERS),
    Action.PROCESS_READ: _sees_process,
    Action.VALUE_READ: _sees_values,
    Action.PROCESS_START: _Holds("initiator", *_MANAGERS),
    Action.PROCESS_CONTROL: _Holds(*_MANAGERS),
    Action.PROCESS_DELETE: _Holds("administrator"),
    Action.BULK_RUN: _anyone,
    Action.BULK_READ: _starter,
    Action.BULK_CONTROL: _starter,
    Action.VALUE_WRITE: _Holds(*_MANAGERS),
    Action.ITEM_READ: _sees_item,
    Action.ITEM_CLAIM: _claims_item,
    Action.ITEM_COMPLETE: _completes_item,
    Action.DOCUMENT_UPLOAD: _anyone,
    Action.DOCUMENT_READ: _sees_document,
    Action.DOCUMENT_LINK: _links_document,
    Action.DOCUMENT_REMOVE: _removes_document,
    Action.SCHEDULE_READ: _sees_schedule,
    Action.SCHEDULE_WRITE: _Holds(*_MANAGERS),
    Action.SECRET_READ: _manages,
    Action.CONNECTION_READ: _manages,
    Action.ITEM_UNCLAIM: _owns_or_controls,
    Action.ITEM_DELEGATE: _owner,
    Action.ITEM_DRAFT: _owner,
    Action.ITEM_LOG: _writes_in_item,
    Action.ITEM_CONTROL: _Holds(*_MANAGERS),
    Action.MESSAGE_ACKNOWLEDGE: _candidate,
    Action.THREAD_OPEN: _opens_thread,
    Action.THREAD_CLOSE: _owns_or_controls,
    Action.POST_WRITE: _writes_in_item,
    Action.POST_CHANGE: _owner,
}

_SEEING: Mapping[Action, Action] = {
    Action.DEFINITION_DEPLOY: Action.DEFINITION_READ,
    Action.DEFINITION_DECIDE: Action.DEFINITION_READ,
    Action.DEFINITION_GRANT: Action.DEFINITION_READ,
    Action.DEFINITION_GRANTS_READ: Action.DEFINITION_READ,
    Action.PEOPLE_ADMINISTER: Action.DEFINITION_READ,
    Action.TENANT_ADMINISTER: Action.DEFINITION_READ,
    Action.PROCESS_START: Action.DEFINITION_READ,
    Action.PROCESS_CONTROL: Action.PROCESS_READ,
    Action.PROCESS_DELETE: Action.PROCESS_READ,
    Action.BULK_CONTROL: Action.BULK_READ,
    Action.VALUE_WRITE: Action.VALUE_READ,
    Action.ITEM_CLAIM: Action.ITEM_READ,
    Action.ITEM_COMPLETE: Action.ITEM_READ,
    Action.ITEM_UNCLAIM: Action.ITEM_READ,
    Action.ITEM_DELEGATE: Action.ITEM_READ,
    Action.ITEM_DRAFT: Action.ITEM_READ,
    Action.ITEM_LOG: Action.ITEM_READ,
    Action.ITEM_CONTROL: Action.ITEM_READ,
    Action.MESSAGE_ACKNOWLEDGE: Action.ITEM_READ,
    Action.THREAD_OPEN: Action.PROCESS_READ,
    Action.THREAD_CLOSE: Action.ITEM_READ,
    Action.POST_WRITE: Action.ITEM_READ,
    Action.POST_CHANGE: Action.ITEM_READ,
    Action.JOB_WORK: Action.PROCESS_READ,
    Action.MESSAGE_SEND: Action.PROCESS_READ,
    Action.SIGNAL_SEND: Action.PROCESS_READ,
    Action.DOCUMENT_LINK: Action.DOCUMENT_READ,
    Action.DOCUMENT_REMOVE: Action.DOCUMENT_READ,
    Action.SCHEDULE_WRITE: Action.SCHEDULE_READ,
    Action.SECRET_WRITE: Action.SECRET_READ,
    Action.CONNECTION_WRITE: Action.CONNECTION_READ,
}
"""What seeing means for each action; a thing is hidden from who may not see it."""
