"""What of a request tells who calls: what authenticators and cookies look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Asked(Protocol):
    """What of a request tells who calls."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def method(self) -> str: ...

    @property
    def scheme(self) -> str:
        """By which the caller came, as far as it is known: `http` or `https`."""
        ...
