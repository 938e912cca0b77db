import pytest

from penstock.errors import Forbidden, Invalid, NotFound
from penstock.identity.model import (
    EVERYONE,
    STARTER,
    Actor,
    GranteeKind,
    Kind,
    Tenant,
    format_grantee,
    grantees_of,
    parse_grantee,
)
from penstock.identity.policy import Action, Target, may, require
from penstock.identity.tokens import hash_secret, new_secret, same

TENANT = Tenant(1, "3f", "demo")


def user(name="ann@example.com", *, groups=(), roles=(), tenant=TENANT):
    return Actor(
        tenant=tenant, principal=f"user:{name}", kind=Kind.USER, groups=frozenset(groups), roles=frozenset(roles)
    )


def application(tenant=TENANT):
    return Actor(tenant=tenant, principal="app:a1", kind=Kind.APPLICATION)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user:Ann@Example.COM", "user:ann@example.com"), ("group:Risk", "group:Risk"), ("app:a-1", "app:a-1"),
        ("role:starter", "role:starter"), ("role:everyone", "role:everyone"),
    ],
)  # fmt: skip
def test_a_grantee_is_read_and_normalised(text, expected):
    assert parse_grantee(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "ann@example.com", "user:", "user:ann", "user:a@b@c", "group:", "group: x", "group:x ", "group:a\nb", "group:\0",
     "role:boss", "person:x", "GROUP:x", ":x", "group:" + "x" * 201],
)  # fmt: skip
def test_what_is_no_grantee_is_refused_where_it_stands(text):
    with pytest.raises(Invalid) as caught:
        parse_grantee(text, "/permissions/initiator/0")
    assert caught.value.problems[0].pointer == "/permissions/initiator/0"


def test_an_actor_is_its_principal_its_groups_and_everyone():
    ann = user(groups=["staff", "risk"])
    assert grantees_of(ann) == {"user:ann@example.com", "group:staff", "group:risk", EVERYONE}
    assert STARTER in grantees_of(ann, starter="user:ann@example.com")
    assert STARTER not in grantees_of(ann, starter="user:bob@example.com")
    assert format_grantee(GranteeKind.USER, "ANN@example.com") in grantees_of(ann)


def test_secrets():
    secret = new_secret("pst", bytes(range(32)))
    assert secret.startswith("pst_")
    assert len(secret) == 4 + 43
    assert secret != new_secret("pst", bytes(32))
    assert hash_secret("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert same("a", "a")
    assert not same("a", "b")
    assert not same("ä", "a")
    with pytest.raises(ValueError, match="32"):
        new_secret("pst", b"short")


def target(**given):
    return Target(**{"kind": "item", "id": "7", "tid": 1, **given})


STAFF = {"initiator": ["group:staff"], "manager": ["group:risk"], "viewer": ["user:eve@example.com"]}

# action, groups of the user, target, answer: True, or what is raised
TABLE = [
    (Action.DEFINITION_READ, [], target(), True),
    (Action.DEFINITION_DEPLOY, ["staff"], None, Forbidden),
    (Action.DEFINITION_DEPLOY, ["staff"], target(), Forbidden),
    (Action.PROCESS_READ, [], target(), True),
    (Action.PROCESS_START, [], target(), Forbidden),
    (Action.PROCESS_START, [], target(permissions=STAFF), Forbidden),
    (Action.PROCESS_START, ["staff"], target(permissions=STAFF), True),
    (Action.PROCESS_START, ["risk"], target(permissions=STAFF), True),
    (Action.PROCESS_START, [], target(permissions={"initiator": [EVERYONE]}), True),
    (Action.PROCESS_CONTROL, ["staff"], target(permissions=STAFF), Forbidden),
    (Action.PROCESS_CONTROL, ["risk"], target(permissions=STAFF), True),
    (Action.PROCESS_CONTROL, [], target(permissions={"manager": [STARTER]}, starter="user:ann@example.com"), True),
    (Action.PROCESS_CONTROL, [], target(permissions={"manager": [STARTER]}, starter="user:bob@example.com"), Forbidden),
    (Action.PROCESS_DELETE, ["risk"], target(permissions=STAFF), Forbidden),
    (Action.PROCESS_DELETE, ["risk"], target(permissions={"administrator": ["group:risk"]}), True),
    (Action.BULK_RUN, [], None, True),
    (Action.BULK_READ, [], target(starter="user:ann@example.com"), True),
    (Action.BULK_READ, ["risk"], target(permissions=STAFF, starter="user:bob@example.com"), NotFound),
    (Action.BULK_CONTROL, [], target(starter="user:ann@example.com"), True),
    (Action.BULK_CONTROL, [], target(starter="user:bob@example.com"), NotFound),
    (Action.VALUE_WRITE, ["staff"], target(permissions=STAFF), Forbidden),
    (Action.ITEM_READ, [], target(), NotFound),
    (Action.ITEM_CLAIM, [], target(candidates=["group:risk"]), NotFound),
    (Action.ITEM_CLAIM, ["risk"], target(candidates=["group:risk"]), True),
    (Action.ITEM_CLAIM, ["risk"], target(candidates=["group:staff"], permissions=STAFF), Forbidden),
    (Action.ITEM_CLAIM, [], target(candidates=["user:ann@example.com"]), True),
    (Action.ITEM_COMPLETE, ["risk"], target(candidates=["group:risk"]), True),
    (Action.ITEM_COMPLETE, ["risk"], target(candidates=["group:risk"], owner="user:bob@example.com"), Forbidden),
    (Action.ITEM_COMPLETE, [], target(candidates=["group:risk"], owner="user:ann@example.com"), True),
    (Action.ITEM_COMPLETE, [], target(owner="user:bob@example.com"), NotFound),
    (Action.JOB_WORK, ["risk"], None, Forbidden),
    (Action.MESSAGE_SEND, ["risk"], None, Forbidden),
    (Action.SIGNAL_SEND, ["risk"], None, Forbidden),
]  # fmt: skip


@pytest.mark.parametrize(("action", "groups", "about", "answer"), TABLE)
def test_what_a_user_may(action, groups, about, answer):
    ann = user(groups=groups)
    if answer is True:
        require(ann, action, about)
        assert may(ann, action, about)
    else:
        with pytest.raises(answer):
            require(ann, action, about)


@pytest.mark.parametrize("action", list(Action))
def test_applications_and_administrators_may_everything_of_their_tenant_and_nothing_beyond(action):
    for actor in (application(), user(roles=["admin"])):
        require(actor, action)
        require(actor, action, target())
        with pytest.raises(NotFound):
            require(actor, action, target(tid=2))
    with pytest.raises(NotFound):
        require(user(), action, target(tid=2))


def test_the_platform_acts_everywhere():
    require(Actor(tenant=TENANT, principal="system", kind=Kind.SYSTEM), Action.PROCESS_CONTROL, target(tid=2))
