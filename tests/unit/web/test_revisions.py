import pytest

from penstock.errors import Invalid, Stale
from penstock.web.revisions import etag, expected


def test_a_revision_goes_out_as_etag_and_comes_back():
    assert etag(7) == '"7"'
    assert expected({"if-match": etag(7)}) == 7


@pytest.mark.parametrize("headers", [{}, {"if-match": "*"}, {"if-match": " * "}])
def test_any_revision_is_taken_where_none_is_named(headers):
    assert expected(headers) is None


@pytest.mark.parametrize("text", ["7", '"x"', "", '"1", "2"', '"' + "9" * 30 + '"', '"-1"'])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(Invalid):
        expected({"if-match": text})


def test_a_weak_tag_never_matches():
    with pytest.raises(Stale):
        expected({"if-match": 'W/"7"'})
