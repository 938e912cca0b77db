"""A program that writes without end and prints what was acknowledged; the tests kill it. Not a test."""

from __future__ import annotations

import random
import sys
import threading
import time

from penstock.store import Store
from store.making import increment, put_value


def endless(url: str, pid: int) -> None:
    """Units of one row each from four threads; a line for each that was acknowledged."""
    store = Store.open(url, "endless")
    door = threading.Lock()

    def client(number: int) -> None:
        for i in range(1_000_000):
            key = store.submit(put_value(f"{number}-{i}", "x" * 500, pid)).result()
            with door:
                sys.stdout.write(key + "\n")
                sys.stdout.flush()

    for number in range(4):
        threading.Thread(target=client, args=(number,)).start()


def hot(url: str, node: str, seconds: float, pids: list[int]) -> None:
    """Increments of counters that other nodes increment as well; prints how many were acknowledged."""
    chance = random.Random(node)
    with Store.open(url, node) as store:
        until = time.monotonic() + seconds
        done = 0
        while time.monotonic() < until:
            batch = [chance.choice(pids) for _ in range(150)]
            futures = [store.submit(increment(pid), (pid,)) for pid in batch]
            for future in futures:
                future.result(60)
                done += 1
        print(done, store.stats.deferred, store.stats.failed_groups)


if __name__ == "__main__":
    if sys.argv[1] == "endless":
        endless(sys.argv[2], int(sys.argv[3]))
    else:
        hot(sys.argv[2], sys.argv[3], float(sys.argv[4]), [int(pid) for pid in sys.argv[5].split(",")])
