"""What operations remember between calls has a bound."""

from penstock.operations.context import Remembered


def test_what_came_first_goes_first():
    kept = Remembered(3)
    for n in range(5):
        kept[n] = str(n)
    assert dict(kept) == {2: "2", 3: "3", 4: "4"}
    kept[3] = "new"
    assert list(kept) == [2, 3, 4]
