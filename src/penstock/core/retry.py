"""When a failed attempt is tried again. Jitter is a hash, so that a step stays a function of what it is given."""

from __future__ import annotations

from zlib import crc32

from penstock.core.definition import RetryPolicy


def backoff(policy: RetryPolicy, process_id: str, visit: int, attempt: int, tries: int) -> int:
    """Milliseconds to wait before the attempt after try number `tries` (1 up) of a visit."""
    delay = float(policy.delay)
    for _ in range(tries - 1):
        delay *= policy.factor
        if delay >= policy.cap:
            break
    delay = min(delay, float(policy.cap))
    part = crc32(f"{process_id}/{visit}/{attempt}".encode()) / 0x1_0000_0000
    return int(delay * (1.0 - policy.jitter * part))


def exhausted(policy: RetryPolicy, tries: int) -> bool:
    """True when no further attempt is due by itself."""
    return tries >= policy.max_attempts
