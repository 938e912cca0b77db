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
    parse_code,
    parse_email,
    parse_grantee,
    parse_name,
)
from penstock.identity.policy import ADMINISTRATION, INSTALLATION, Action, Target, may, require
from penstock.identity.sentences import SENTENCES
from penstock.identity.tokens import hash_secret, new_secret, same

TENANT = Tenant(1, "3f", "demo")


def user(name="ann@example.com", *, groups=(), roles=(), tenant=TENANT):
    return Actor(
        tenant=tenant, principal=f"user:{name}", kind=Kind.USER, groups=frozenset(groups), roles=frozenset(roles)
    )


def application(tenant=TENANT, *, roles=()):
    return Actor(tenant=tenant, principal="app:a1", kind=Kind.APPLICATION, roles=frozenset(roles))


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
    (Action.DEFINITION_DEPLOY, ["risk"], target(permissions=STAFF), Forbidden),
    (Action.DEFINITION_DEPLOY, ["boss"], target(permissions={"administrator": ["group:boss"]}), True),
    (Action.DEFINITION_DECIDE, ["staff"], target(permissions=STAFF), Forbidden),
    (Action.DEFINITION_DECIDE, ["risk"], target(permissions=STAFF), True),
    (Action.DEFINITION_GRANT, ["risk"], target(permissions=STAFF), Forbidden),
    (Action.DEFINITION_GRANT, ["boss"], target(permissions={"administrator": ["group:boss"]}), True),
    (Action.DEFINITION_GRANTS_READ, ["risk"], target(permissions=STAFF), True),
    (Action.PEOPLE_ADMINISTER, ["boss"], None, Forbidden),
    (Action.TENANT_ADMINISTER, ["boss"], None, Forbidden),
    (Action.PROCESS_READ, [], None, Forbidden),
    (Action.PROCESS_READ, [], target(), NotFound),
    (Action.PROCESS_READ, [], target(permissions={}), True),
    (Action.PROCESS_READ, ["staff"], target(permissions=STAFF), NotFound),
    (Action.PROCESS_READ, ["risk"], target(permissions=STAFF), True),
    (Action.PROCESS_READ, [], target(permissions=STAFF, starter="user:ann@example.com"), True),
    (Action.PROCESS_READ, [], target(permissions=STAFF, involved=True), True),
    (Action.VALUE_READ, ["staff"], target(permissions=STAFF), NotFound),
    (Action.VALUE_READ, ["staff"], target(kind="definition", permissions=STAFF), True),
    (Action.VALUE_READ, [], target(kind="definition", permissions=STAFF), NotFound),
    (Action.PROCESS_START, [], target(), Forbidden),
    (Action.PROCESS_START, [], target(permissions=STAFF), Forbidden),
    (Action.PROCESS_START, ["staff"], target(permissions=STAFF), True),
    (Action.PROCESS_START, ["risk"], target(permissions=STAFF), True),
    (Action.PROCESS_START, [], target(permissions={"initiator": [EVERYONE]}), True),
    (Action.PROCESS_CONTROL, ["staff"], target(permissions=STAFF), NotFound),
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
    (Action.VALUE_WRITE, ["staff"], target(permissions=STAFF), NotFound),
    (Action.VALUE_WRITE, ["staff"], target(permissions=STAFF, involved=True), Forbidden),
    (Action.ITEM_READ, [], target(), NotFound),
    (Action.ITEM_CLAIM, [], target(candidates=["group:risk"]), NotFound),
    (Action.ITEM_CLAIM, ["risk"], target(candidates=["group:risk"]), True),
    (Action.ITEM_CLAIM, ["risk"], target(candidates=["group:staff"], permissions=STAFF), Forbidden),
    (Action.ITEM_CLAIM, [], target(candidates=["user:ann@example.com"]), True),
    (Action.ITEM_COMPLETE, ["risk"], target(candidates=["group:risk"]), True),
    (Action.ITEM_COMPLETE, ["risk"], target(candidates=["group:risk"], owner="user:bob@example.com"), Forbidden),
    (Action.ITEM_COMPLETE, [], target(candidates=["group:risk"], owner="user:ann@example.com"), True),
    (Action.ITEM_COMPLETE, [], target(owner="user:bob@example.com"), NotFound),
    (Action.ITEM_CLAIM, [], target(owner="user:bob@example.com", delegator="user:ann@example.com"), True),
    (Action.ITEM_UNCLAIM, [], target(owner="user:ann@example.com"), True),
    (Action.ITEM_UNCLAIM, [], target(owner="user:bob@example.com"), NotFound),
    (Action.ITEM_UNCLAIM, ["risk"], target(owner="user:bob@example.com", permissions=STAFF), True),
    (Action.ITEM_DELEGATE, ["risk"], target(owner="user:bob@example.com", permissions=STAFF), Forbidden),
    (Action.ITEM_DELEGATE, [], target(owner="user:ann@example.com"), True),
    (Action.ITEM_DRAFT, ["staff"], target(candidates=["group:staff"]), Forbidden),
    (Action.ITEM_DRAFT, [], target(owner="user:ann@example.com"), True),
    (Action.ITEM_LOG, ["staff"], target(candidates=["group:staff"]), True),
    (Action.ITEM_LOG, [], target(candidates=["group:staff"]), NotFound),
    (Action.ITEM_CONTROL, [], target(owner="user:ann@example.com"), Forbidden),
    (Action.ITEM_CONTROL, ["risk"], target(permissions=STAFF), True),
    (Action.ITEM_CONTROL, ["staff"], target(permissions=STAFF), NotFound),
    (Action.MESSAGE_ACKNOWLEDGE, ["staff"], target(candidates=["group:staff"]), True),
    (Action.MESSAGE_ACKNOWLEDGE, ["risk"], target(candidates=["group:staff"], permissions=STAFF), Forbidden),
    (Action.THREAD_OPEN, [], target(starter="user:ann@example.com"), True),
    (Action.THREAD_OPEN, ["staff"], target(starter="user:bob@example.com", permissions=STAFF), NotFound),
    (Action.THREAD_OPEN, ["risk"], target(permissions=STAFF), True),
    (Action.THREAD_CLOSE, ["staff"], target(candidates=["group:staff"]), Forbidden),
    (Action.THREAD_CLOSE, [], target(owner="user:ann@example.com"), True),
    (Action.POST_WRITE, ["risk"], target(permissions=STAFF), True),
    (Action.POST_WRITE, [], target(permissions=STAFF), NotFound),
    (Action.POST_CHANGE, ["risk"], target(owner="user:bob@example.com", permissions=STAFF), Forbidden),
    (Action.POST_CHANGE, [], target(owner="user:ann@example.com"), True),
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


@pytest.mark.parametrize("action", sorted(set(Action) - INSTALLATION))
def test_applications_and_administrators_may_everything_of_their_tenant_and_nothing_beyond(action):
    actors = [application(roles=["admin"]), user(roles=["admin"])]
    if action not in ADMINISTRATION:
        actors.append(application())
    for actor in actors:
        require(actor, action)
        require(actor, action, target())
        with pytest.raises(NotFound):
            require(actor, action, target(tid=2))
    with pytest.raises(NotFound):
        require(user(), action, target(tid=2))


@pytest.mark.parametrize("action", sorted(INSTALLATION))
def test_the_installation_takes_the_role_operator_of_everybody(action):
    for actor in (application(), application(roles=["admin"]), user(roles=["admin", "manager"]), user()):
        with pytest.raises(Forbidden, match="that takes the role operator"):
            require(actor, action)
    require(user(roles=["operator"]), action)
    require(application(roles=["operator"]), action)


@pytest.mark.parametrize("action", sorted(set(Action) - INSTALLATION))
def test_an_operator_may_no_more_in_a_tenant_than_who_is_none(action):
    operator = user(roles=["operator"])
    for about in (target(), target(tid=2), None):
        assert may(operator, action, about) == may(user(), action, about)
        assert not may(operator, action, target(tid=2))


@pytest.mark.parametrize("action", sorted(ADMINISTRATION))
def test_an_application_administrates_with_the_role_or_a_permission_alone(action):
    with pytest.raises(Forbidden):
        require(application(), action)
    with pytest.raises(Forbidden):
        require(application(), action, target(permissions={}))
    granted = action.startswith("definition.")
    assert may(application(), action, target(permissions={"administrator": ["app:a1"]})) is granted


@pytest.mark.parametrize(
    ("text", "kept"),
    [("Ann@Example.COM", "ann@example.com"), ("a.b+c@x", "a.b+c@x"), ("o'hara@xn--bcher-kva.de", "o'hara@xn--bcher-kva.de"),
     ("JOSE\u0301@x.es", "jos\u00e9@x.es"), ("STRASSE@x.de", "strasse@x.de"), ("stra\u00dfe@x.de", "strasse@x.de")],
)  # fmt: skip
def test_an_email_is_kept_case_folded(text, kept):
    assert parse_email(text) == kept
    assert parse_email(kept) == kept
    assert parse_grantee(f"user:{text}") == f"user:{kept}"


@pytest.mark.parametrize(
    "text",
    ["", "@", "a", "a@", "@b", "a@b@c", "a b@c", "a@b c", " a@b", "a@b ", ".a@b", "a.@b", "a..b@c", "a@.b", "a@b.", "a@b..c",
     "a@-b", "a@b-", "a@b_", "a\n@b", "a@b\n", "a\0@b", "a@b\u202e", '"a b"@c', "a@[127.0.0.1]", "user:a@b", "a,b@c", "<a@b>",
     "a@b;c", "x" * 65 + "@b", "x@" + "y" * 64, "x@" + "y." * 100 + "z", "x" * 10_000, "\u0130@x" + "y" * 300],
)  # fmt: skip
def test_an_email_of_nonsense_is_refused_where_it_stands(text):
    with pytest.raises(Invalid) as caught:
        parse_email(text, "/email")
    assert caught.value.problems[0].pointer == "/email"
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("text", ["", " ", "a ", " a", "a\nb", "a\0", "\u202e", "\u200b", "x" * 201, "x" * 10_000])
def test_a_name_has_a_length_and_no_control_characters(text):
    with pytest.raises(Invalid) as caught:
        parse_name(text, "/name")
    assert caught.value.problems[0].pointer == "/name"


@pytest.mark.parametrize("text", ["", "a b", "a/b", "\u00e4", "x" * 65, "a\n", "a:b"])
def test_the_code_of_a_group_is_one_that_definitions_may_name(text):
    with pytest.raises(Invalid):
        parse_code(text)
    assert parse_code("Risk.1_-") == "Risk.1_-"


def test_the_platform_acts_everywhere():
    require(Actor(tenant=TENANT, principal="system", kind=Kind.SYSTEM), Action.PROCESS_CONTROL, target(tid=2))


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Action.PROCESS_START, "the definition's permission initiator or manager or administrator, or the role admin"),
        (Action.JOB_WORK, "that takes the role admin"),
        (Action.ITEM_CLAIM, ""),
    ],
)
def test_a_refusal_names_what_could_be_given(action, told):
    about = target(permissions={}, owner="user:ann@example.com") if action is not Action.JOB_WORK else None
    with pytest.raises(Forbidden) as refused:
        require(user(groups=[]), action, about)
    assert refused.value.message.endswith(told or "may not claim this item")
    assert f" may not {SENTENCES[action]}" in refused.value.message
    assert refused.value.details["action"] == action


def test_every_action_has_a_sentence_of_its_own():
    assert set(SENTENCES) == set(Action)
    assert len(set(SENTENCES.values())) == len(SENTENCES)
