"""Who may do what: `identity.policy` is asked, about every action, for actors who have one thing each."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from docs.reference.markdown import code, codes, page, said_of_members, table
from penstock.errors import NotFound
from penstock.identity import policy
from penstock.identity.model import Actor, Kind, Tenant
from penstock.identity.policy import Action, Target
from penstock.identity.sentences import SENTENCES

TENANT = Tenant(tid=1, id="t", code="t")
USER = Actor(tenant=TENANT, kind=Kind.USER, principal="user:ann@example.com")
APPLICATION = Actor(tenant=TENANT, kind=Kind.APPLICATION, principal="app:1")
OTHER = "user:other@example.com"

INTRODUCTION = """
Asked of the policy itself, one thing at a time: what a **role** of the tenant allows, what an **application** without a role may, and what a **user** without a role may:
everybody, or who has one of the definition's permissions, or who has to do with the thing (*starter* of the process or who began the bulk operation, *candidate*, *owner*, who *delegated* it,
*creator* of the document, *involved*: has or had an item of the process). **Refused** says what the others get: 403, or 404 where the thing is hidden from them.
What stands in brackets holds only where the definition names no viewers. Of another tenant nobody may anything: 404.
"""

RELATIONS = {
    "starter": {"starter": USER.principal},
    "candidate of the item": {"candidates": (USER.principal,)},
    "owner": {"owner": USER.principal},
    "delegated it": {"delegator": USER.principal},
    "creator": {"creator": USER.principal},
    "involved": {"involved": True},
}
KINDS = {
    "document": {"of its own": "document", "linked": "process"},
    "value": {"of a definition": "definition", "of a process": "process"},
}
"""Kinds of targets that the policy tells apart, by the action's first word."""


def made() -> str:
    meanings = said_of_members(Action)
    rows = []
    for action in Action:
        kinds = KINDS.get(action.partition(".")[0], {"": action.partition(".")[0]})
        who = {
            about: [roles(action, kind), applications(action, kind), users(action, kind), refused(action, kind)]
            for about, kind in kinds.items()
        }
        if all(each == next(iter(who.values())) for each in who.values()):
            who = {"": next(iter(who.values()))}
        rows += [
            [
                code(action) + (f" ({about})" if about else ""),
                meanings[action.name] or f"{SENTENCES[action].capitalize()}.",
                *may,
            ]
            for about, may in who.items()
        ]
    return page("Policy", INTRODUCTION, table(["action", "what", "roles", "applications", "users", "refused"], rows))


def target(kind: str, **more: object) -> Target:
    """One that the actor has nothing to do with; its definition grants everything to somebody else."""
    granted = dict.fromkeys(policy.PERMISSIONS, (OTHER,))
    return msgspec.structs.replace(
        Target(
            kind=kind, id="1", tid=TENANT.tid, permissions=granted,
            starter=OTHER, candidates=(OTHER,), owner=OTHER, creator=OTHER, delegator=OTHER,
        ),
        **more,
    )  # fmt: skip


def roles(action: Action, kind: str) -> str:
    found = []
    for role in sorted(policy.ROLES):
        may_user, may_application = (
            policy.may(msgspec.structs.replace(actor, roles=frozenset({role})), action, target(kind))
            for actor in (USER, APPLICATION)
        )
        if may_user and not policy.may(USER, action, target(kind)):
            found.append(code(role))
        elif may_application and not policy.may(APPLICATION, action, target(kind)):
            found.append(f"{code(role)} (applications)")
    return ", ".join(found)


def applications(action: Action, kind: str) -> str:
    if policy.may(APPLICATION, action, target(kind)):
        return "yes"
    found = [name for name in policy.PERMISSIONS if policy.may(APPLICATION, action, granted(kind, name, APPLICATION))]
    return codes(found)


def users(action: Action, kind: str) -> str:
    if policy.may(USER, action, target(kind)):
        return "everybody"
    found = [code(name) for name in policy.PERMISSIONS if policy.may(USER, action, granted(kind, name, USER))]
    found += related(action, kind)
    text = ", ".join(found)
    unseen = target(kind, permissions={**target(kind).permissions, "viewer": ()})
    return text + (" (everybody)" if policy.may(USER, action, unseen) else "")


def granted(kind: str, permission: str, actor: Actor) -> Target:
    whole = target(kind)
    assert whole.permissions is not None
    return msgspec.structs.replace(whole, permissions={**whole.permissions, permission: (actor.principal,)})


def related(action: Action, kind: str) -> Iterator[str]:
    for name, members in RELATIONS.items():
        if policy.may(USER, action, target(kind, **members)):
            yield name
        elif policy.may(USER, action, target(kind, **{"owner": None, **members})):
            yield f"{name}, while nobody owns it"


def refused(action: Action, kind: str) -> str:
    """What a user hears who has nothing to do with it."""
    if policy.may(USER, action, target(kind)):
        return ""
    try:
        policy.require(USER, action, target(kind))
    except NotFound:
        return "404"
    except policy.Forbidden:
        return "403"
    raise AssertionError(f"{action} was refused, and is not")
