import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.schema import MAX_PROBLEMS, coerce, compile_schema

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0},
        "a/b~c": {"type": "string"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        "mail": {"format": "email"},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}},
}

CHECKS = [
    ({"name": "Ada"}, []),
    ({"name": "Ada", "age": 1.0, "tags": ["x"], "mail": "a@example.org"}, []),
    ([], [("", "schema.type")]),
    ({}, [("", "schema.required")]),
    ({"name": "Ada", "nme": 1}, [("", "schema.additionalProperties")]),
    ({"name": 1, "age": -1}, [("/name", "schema.type"), ("/age", "schema.minimum")]),
    ({"name": "Ada", "a/b~c": 1}, [("/a~1b~0c", "schema.type")]),
    ({"name": "Ada", "tags": ["x", 1, "Y"]}, [("/tags/1", "schema.type"), ("/tags/2", "schema.pattern")]),
    ({"name": "Ada", "mail": "nobody"}, [("/mail", "schema.format")]),
    ({"name": "Ada", "age": True}, [("/age", "schema.type")]),
]


@pytest.mark.parametrize(("value", "found"), CHECKS)
def test_check_finds(value, found):
    problems = compile_schema(PERSON).check(value)
    assert sorted((problem.pointer, problem.code) for problem in problems) == sorted(found)
    assert not any(problem.warning for problem in problems)


def test_check_puts_the_pointer_before():
    assert [each.pointer for each in compile_schema(PERSON).check({"name": 1}, "/data")] == ["/data/name"]
    assert [each.pointer for each in compile_schema(PERSON).check(1, "/data")] == ["/data"]


def test_a_short_value_is_shown_and_a_long_one_is_not():
    checker = compile_schema({"maxLength": 3})
    assert checker.check("tram")[0].message.startswith('"tram" is longer')
    long = checker.check("secret" * 100)[0].message
    assert "secret" not in long
    assert long.startswith("the value is longer")


def test_problems_and_messages_are_bounded():
    assert len(compile_schema({"items": {"type": "string"}}).check([1] * 1_000)) == MAX_PROBLEMS
    problem = compile_schema({"additionalProperties": False}).check({"x" * 10_000: 1})[0]
    assert len(problem.message) <= 300


@pytest.mark.parametrize("value", ["\ud800", {1: 2}, object()])
def test_what_is_no_json_is_a_problem(value):
    assert [each.code for each in compile_schema({"type": ["string", "object"]}).check(value)] == ["schema"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "a JSON Schema is a map"),
        ("x", "a JSON Schema is a map"),
        ({"type": "strin"}, "at /type"),
        ({"properties": []}, "at /properties"),
        ({"properties": {"a/b": {"type": 1}}}, "at /properties/a~1b/type"),
        ({"$ref": "http://example.com/x"}, "disabled"),
        ({"$ref": "https://json-schema.example/x"}, "disabled"),
        ({"$ref": "file:///etc/passwd"}, "disabled"),
        ({"$ref": "other.json"}, "other.json"),
        ({"$ref": "#/$defs/x"}, r"\$defs/x"),
        ({"$schema": "http://example.com/x"}, "meta-schema"),
        ({"pattern": "("}, "at /pattern"),
        ({"pattern": "(?=a)"}, "at /pattern"),
        ({"pattern": r"(a)\1"}, "at /pattern"),
        ({"pattern": "((a{100}){100}){100}"}, "at /pattern"),
        ({"patternProperties": {"(?<=a)b": {}}}, "at /patternProperties"),
        (
            {
                "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)} | {"a60": {}},
                "properties": {"x": {"$ref": "#/$defs/a0"}},
            },
            "multiply",
        ),
        ({"\ud800": 1}, "cannot be used"),
        (
            {
                "$ref": "#/$defs/a0",
                "$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(200)} | {"a200": {}},
            },
            "multiply",
        ),
    ],
)
def test_compile_refuses(schema, message):
    with pytest.raises(ValueError, match=message) as caught:
        compile_schema(schema)
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (True, 1, None),
        ({}, 1, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, "x", 1),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}, ["x", 1], [1]),
        ({"type": "array", "items": {"$ref": "#"}}, [[[]]], [[1]]),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["x"], ["x", 1]),
        ({"allOf": [{"$ref": "#"}, {"type": "string"}]}, "x", 1),
        ({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"not": {"type": "null"}}}, "xx", "x"),
    ],
)
def test_drafts_and_references(schema, good, bad):
    checker = compile_schema(schema)
    assert checker.check(good) == []
    assert bad is None or checker.check(bad)


def test_patterns_run_in_linear_time():
    checker = compile_schema({"pattern": "^(a+)+$"})
    assert checker.check("a" * 50_000 + "b")  # one that backtracks would not live to see the end of this


NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("schema", "value", "coerced"),
    [
        (NUMBER, 1, 1.0),
        (NUMBER, True, True),
        (NUMBER, "1", "1"),
        (NUMBER, None, None),
        ({"type": ["null", "number"]}, 1, 1.0),
        ({"type": "integer"}, 1, 1),
        ({}, 1, 1),
        (True, 1, 1),
        ({"properties": {"a": NUMBER}}, {"a": 1, "b": 1}, {"a": 1.0, "b": 1}),
        ({"properties": {"a": {"properties": {"b": NUMBER}}}}, {"a": {"b": 1}}, {"a": {"b": 1.0}}),
        ({"additionalProperties": NUMBER, "properties": {"a": {}}}, {"a": 1, "b": 1}, {"a": 1, "b": 1.0}),
        ({"items": NUMBER}, [1, 2.5, "x"], [1.0, 2.5, "x"]),
        ({"prefixItems": [{}, NUMBER], "items": {}}, [1, 1, 1], [1, 1.0, 1]),
        ({"items": [{}, NUMBER], "additionalItems": NUMBER}, [1, 1, 1], [1, 1.0, 1.0]),
        ({"$ref": "#/$defs/n", "$defs": {"n": NUMBER}}, 1, 1.0),
        ({"items": {"$ref": "#/$defs/a~1b%25"}, "$defs": {"a/b%": NUMBER}}, [1], [1.0]),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": NUMBER}, "$ref": "#/$defs/a"}, 1, 1.0),
        (
            {"properties": {"n": NUMBER, "below": {"$ref": "#"}}},
            {"n": 1, "below": {"n": 2}},
            {"n": 1.0, "below": {"n": 2.0}},
        ),
        ({"$ref": "#"}, 1, 1),
        ({"$ref": "#/$defs/none"}, 1, 1),
        ({"$ref": "http://example.com/x"}, 1, 1),
        ({"$ref": 5}, 1, 1),
        ({"$ref": "#/anyOf/1", "anyOf": [{}, NUMBER]}, 1, 1.0),
        ({"$ref": "#/anyOf/2", "anyOf": [{}, NUMBER]}, 1, 1),
        (
            {
                "$ref": "#/$defs/a0",
                "$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(40)} | {"a40": NUMBER},
            },
            1,
            1,
        ),
        ({"properties": [], "additionalProperties": NUMBER}, {"a": 1}, {"a": 1.0}),
        (NUMBER, 10**400, 10**400),
    ],
)
def test_coerce_gives(schema, value, coerced):
    assert repr(coerce(schema, value)) == repr(coerced)


def test_coerce_copies_only_what_changes():
    value = {"a": {"n": 1}, "b": {"n": 1}}
    coerced = coerce({"properties": {"a": {"properties": {"n": NUMBER}}}}, value)
    assert value == {"a": {"n": 1}, "b": {"n": 1}}
    assert type(value["a"]["n"]) is int
    assert coerced["b"] is value["b"]
    unchanged = {"a": [1.5]}
    assert coerce({"properties": {"a": {"items": NUMBER}}}, unchanged) is unchanged


def test_coerce_is_bounded():
    schema = {"$ref": "#", "properties": {"a": {"$ref": "#"}}, "items": {"$ref": "#"}, "type": "number"}
    deep: object = 1
    for _ in range(150):
        deep = {"a": deep}
    coerced = coerce(schema, deep)  # twice the work at each level would never end
    while isinstance(coerced, dict):
        coerced = coerced["a"]
    assert repr(coerced) == "1.0"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=3),
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("ab"), below, max_size=2),
    )
)
def test_coerce_keeps_the_value(value):
    schema = {"type": "number", "items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}}
    coerced = coerce(schema, value)
    assert coerced == value

    def integers(each):
        if isinstance(each, dict):
            return any(integers(below) for below in each.values())
        return any(integers(below) for below in each) if isinstance(each, list) else type(each) is int

    assert not integers(coerced)
