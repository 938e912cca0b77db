"""Values: key/value and counters, in the scope of a process or of a definition."""

from __future__ import annotations

from penstock.core import codec
from penstock.errors import Conflict
from penstock.store.rows import DEFINITION_VALUES, PROCESS_VALUES, Rows, Tx, definition_key

LARGEST = 2**63 - 1

OF_PROCESS = PROCESS_VALUES
OF_DEFINITION = DEFINITION_VALUES


def unit_key(rows: Rows, owner: int) -> int:
    """What a unit names as its key when it changes values of this owner."""
    return owner if rows is PROCESS_VALUES else definition_key(owner)


def put(tx: Tx, rows: Rows, owner: int, key: str, text: str) -> None:
    """`text` is the value as JSON."""
    tx.put(rows, (owner, key, text))


def delete(tx: Tx, rows: Rows, owner: int, key: str) -> bool:
    if tx.get(rows, (owner, key)) is None:
        return False
    tx.delete(rows, (owner, key))
    return True


def increment(tx: Tx, rows: Rows, owner: int, key: str) -> int:
    """Add exactly 1; an absent key becomes 1.

    Raises: Conflict when the value is not an integer, or is the largest one.
    """
    row = tx.get(rows, (owner, key))
    value = 0 if row is None else codec.decode_json(row[2])
    if type(value) is not int:
        raise Conflict(f"Value of key `{key}` is not a number!", key=key)
    if value >= LARGEST:
        raise Conflict(f"Value of key `{key}` is the largest number there is", key=key)
    tx.put(rows, (owner, key, str(value + 1)))
    return value + 1
