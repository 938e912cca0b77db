"""What of the installation a tenant may use: reading quotas, and the bucket that says how fast it may call. No clock here."""

from __future__ import annotations

import math

from penstock.errors import Invalid, Problem
from penstock.identity.model import Quotas

MOST_OPEN = 1_000_000_000
MOST_REQUESTS = 1_000_000
MOST_SHARE = 16
"""Shares are small numbers: who has 16 gets 16 turns of the writer for another's one."""


def checked_quotas(quotas: Quotas, pointer: str = "/quotas") -> Quotas:
    """Raises: Invalid, with every problem."""
    problems = [
        Problem(f"{pointer}/{name}", f"must be {least:g} to {most}, or null for no limit", "out_of_range")
        for name, least, most in (
            ("open_processes", 0, MOST_OPEN),
            ("requests_per_second", 0.1, MOST_REQUESTS),
            ("burst", 1, MOST_REQUESTS),
        )
        if (value := getattr(quotas, name)) is not None and not least <= value <= most
    ]
    if not 1 <= quotas.writer_share <= MOST_SHARE:
        problems.append(Problem(f"{pointer}/writer_share", f"must be 1 to {MOST_SHARE}", "out_of_range"))
    if quotas.burst is not None and quotas.requests_per_second is None:
        problems.append(Problem(f"{pointer}/burst", "goes with requests_per_second alone", "alone"))
    if problems:
        raise Invalid(problems[0].message, problems)
    return quotas


class Bucket:
    """Tokens that come at a rate and wait up to a number; each request takes one. Times are seconds of any clock that
    never goes back.
    """

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = math.inf
        self._at = 0.0

    def take(self, now: float, quotas: Quotas) -> float:
        """0 when a token was taken, else the seconds until there is one. A quota that has changed counts at once."""
        rate = quotas.requests_per_second
        if rate is None:
            return 0.0
        most = max(1.0, math.ceil(rate)) if quotas.burst is None else quotas.burst
        self._tokens = min(most, self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return 0.0

    def give_back(self) -> None:
        """The request was nobody's."""
        self._tokens += 1
