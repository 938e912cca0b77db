from penstock.core.references import marked, masked, names_in, put_in, references

REQUEST = {
    "url": "https://x/${secrets.A}",
    "headers": {"a/b": "Bearer ${ secrets.B }"},
    "body": [{"c": "${secrets.A}"}],
}


def test_references_are_found_with_their_places():
    found = [("/url", "A"), ("/headers/a~1b", "B"), ("/body/0/c", "A")]
    assert list(references(REQUEST)) == found
    assert names_in(REQUEST) == {"A", "B"}


def test_secrets_take_the_place_of_their_references_and_are_not_read_again():
    sent = put_in(REQUEST, {"A": "${secrets.B}", "B": "b\\1"})
    assert sent == {"url": "https://x/${secrets.B}", "headers": {"a/b": "Bearer b\\1"}, "body": [{"c": "${secrets.B}"}]}


def test_a_mark_is_seen_in_keys_too():
    assert marked({"a": [{"${secrets.X": 1}]})
    assert not marked({"a": ["secrets.X", "${input.x}"], "secrets": 1})


def test_what_comes_back_of_a_secret_is_masked_keys_and_the_longer_first():
    value = {"echo hunter2-long!": ["x hunter2-long", 5, None]}
    assert masked(value, {"hunter2-long", "hunter2-long!"}) == {"echo ***": ["x ***", 5, None]}


def test_a_secret_of_digits_is_masked_where_it_comes_back_as_a_number():
    value = {"pin": 12345678, "more": [-912345678, 12345678.5, 1234567, 7.0, True]}
    assert masked(value, {"12345678"}) == {"pin": "***", "more": ["***", "***", 1234567, 7.0, True]}


def test_short_values_are_not_looked_for():
    assert masked("a cat", {"a"}) == "a cat"
