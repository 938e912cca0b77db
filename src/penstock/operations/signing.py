"""The keys that sign access tokens: made when there is none, replaced when they are old, known to every node.

The newest signs. A retired one still verifies, until whatever it signed has expired; its private half is gone at once. A node
remembers the keys until it hears of another (`signing_keys.CHANGED`), and looks again, once a second at most, when a token names one
it does not know.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from penstock.errors import Conflict, PenstockError, Unavailable
from penstock.identity import signed
from penstock.identity.keys import NONCE_BYTES, Keys, Unreadable
from penstock.store import Read, Store, signing_keys
from penstock.store.rows import Tx

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

log = logging.getLogger(__name__)

AUDIENCE = "penstock"
EVERY = 600.0
"""Seconds between looks at the age of the keys."""
LOOK = 1.0
"""Seconds between looks for a key that is not known."""
DAY = 24 * 3600 * 1000
KEPT = 31 * DAY
"""Milliseconds a retired key is kept: a day more than a token may live (`token_lifetime`)."""


class _Known(NamedTuple):
    """What a node knows of the keys, and by which clock it knows the time: `now` (ms) was the database's at `heard`."""

    public: dict[str, ECKey]
    rows: list[signing_keys.Row]
    now: int
    heard: float


class Signing:
    """Signs and checks tokens, on this node. One for the whole server."""

    def __init__(self, store: Store, keys: Keys, address: str, public_url: str | None) -> None:
        """`address`: this server's own, which is the issuer where nobody has set a `public_url`."""
        self._store = store
        self._keys = keys
        self._public_url = None if public_url is None else public_url.rstrip("/")
        self.issuer = self._public_url or address
        self._listening = False
        self._stale = True
        self._known: _Known | None = None
        self._private: tuple[str, ECKey] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._began = 0.0
        """When the last read of the table began."""

    def bound(self, address: str) -> None:
        """The server listens here: port 0 is known only now."""
        self.issuer = self._public_url or address

    async def sign(self, claims: dict[str, Any]) -> str:
        """A token that says so, with our name and audience on it. Raises: Unavailable."""
        if self._stale or self._private is None:
            await self._load()
        kid, key = self._private or self._nobody_signs()
        return signed.sign({"iss": self.issuer, "aud": AUDIENCE, **claims}, kid, key)

    async def check(self, token: str) -> dict[str, Any]:
        """What a signed token of ours says; nothing is asked of the database but a key that is not known. Raises: Refused."""
        kid = signed.kid_of(token)
        known = self._known
        if known is None or kid not in known.public:
            known = await self._look()
            if kid not in known.public:
                raise signed.Refused("the token is signed with a key that there is not (any more)")
        try:
            return self._claims(token, kid, known)
        except signed.Untimely:
            if time.monotonic() - known.heard < LOOK:
                raise
            # the database's clock may have been set since
            known = await self._look()
            if kid not in known.public:
                raise
            return self._claims(token, kid, known)

    def _claims(self, token: str, kid: str, known: _Known) -> dict[str, Any]:
        now = known.now / 1000 + time.monotonic() - known.heard
        # without a public_url each node has an address of its own, and another after the next start; the row of the token
        # tells who it is of then
        issuer = self._public_url
        return signed.claims_of(token, known.public[kid], audience=AUDIENCE, issuer=issuer, now=now)

    async def published(self) -> list[dict[str, str]]:
        """The public keys as a JWK Set has them, the one that signs last. Raises: Unavailable."""
        if self._stale or self._known is None:
            try:
                await self._load()
            except Unavailable:
                if self._known is None:
                    raise  # else what was known last is better than nothing
        assert self._known is not None
        return [signed.published(row.kid, msgspec.json.decode(row.public)) for row in self._known.rows]

    async def _look(self) -> _Known:
        """Read the table again, not more than once a second; all who ask meanwhile wait for one read that began after they did."""
        asked = time.monotonic()
        while self._known is None or self._began < asked:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._load_in_turn())
            await asyncio.shield(self._looking)
        return self._known

    async def _load_in_turn(self) -> None:
        if self._known is not None:
            await asyncio.sleep(self._began + LOOK - time.monotonic())
        await self._load()

    async def _load(self) -> None:
        if not self._listening:
            self._listening = True
            self._store.listen(self._heard)
        began = time.monotonic()
        self._stale = False  # before the read: what is heard while it runs counts
        try:
            rows, now = await self._store.async_read(lambda read: (signing_keys.every(read), read.now()))
            heard = time.monotonic()
            public, private = await asyncio.to_thread(self._opened, rows)
        except BaseException:
            self._stale = True
            raise
        self._known, self._private = _Known(public, rows, now, heard), private
        self._began = max(self._began, began)

    def _opened(self, rows: list[signing_keys.Row]) -> tuple[dict[str, ECKey], tuple[str, ECKey] | None]:
        """The public keys, and the one that signs; on a thread, for it may be the first to load the library."""
        from joserfc.jwk import ECKey  # noqa: PLC0415

        known = {} if self._known is None else self._known.public
        public = {row.kid: known.get(row.kid) or ECKey.import_key(msgspec.json.decode(row.public)) for row in rows}
        signs = next((row for row in reversed(rows) if row.private is not None), None)
        if signs is None:
            return public, None
        if self._private is not None and self._private[0] == signs.kid:
            return public, self._private
        try:
            private = open_private(self._keys, signs)
        except Unreadable as error:
            log.warning("the key that signs cannot be read: %s", error.message)
            return public, None
        return public, (signs.kid, ECKey.import_key(private))

    def _nobody_signs(self) -> tuple[str, ECKey]:
        raise Unavailable(
            "no token can be signed: the key that signs cannot be read; see the server's log", retry_after=30
        )

    def _heard(self, payloads: list[str]) -> None:
        if signing_keys.CHANGED in payloads or "*" in payloads:
            self._stale = True

    async def run(self, days: int) -> None:
        """Replace the key when it is this old, and drop what verifies nothing any more, until cancelled."""
        while True:
            try:
                await self.tend(days)
            except PenstockError as error:
                log.warning("the look at the signing keys waits: %s", error.message)
            await asyncio.sleep(EVERY)

    async def tend(self, days: int) -> None:
        """One look."""
        rows, now = await self._store.async_read(lambda read: (signing_keys.every(read), read.now()))
        signs = _newest(rows)
        if signs is None or signs.created_at <= now - days * DAY:
            made = await asyncio.wrap_future(rotate(self._store, self._keys, None if signs is None else signs.kid))
            log.info("access tokens are signed with the key %s", made.kid)
        if any(row.retired_at is not None and row.retired_at < now - KEPT for row in rows):
            await self._store.submit_async(lambda tx: signing_keys.forget(tx, tx.now - KEPT), low=True)


def ensure(store: Store, keys: Keys) -> None:
    """At a server's start: there is a key that signs, and it can be read. Raises: Conflict, Unavailable."""
    signs = store.read(signing)
    if signs is None:
        rotate(store, keys, None).result(30)
        return
    require_readable(keys, signs)


def signing(read: Read) -> signing_keys.Row | None:
    """The key that signs; None: there is none yet."""
    return _newest(signing_keys.every(read))


def require_readable(keys: Keys, signs: signing_keys.Row) -> None:
    """Raises: Conflict when tokens could not be signed with this key."""
    try:
        open_private(keys, signs)
    except Unreadable as error:
        raise Conflict(
            f"the key that signs access tokens cannot be read: {error.message}. Put the old key behind the new one in secret_key; "
            "if it is lost, `penstock rotate-keys --signing` makes another key, and who has a token logs in anew"
        ) from None


def rotate(store: Store, keys: Keys, replaced: str | None) -> Future[signing_keys.Row]:
    """A new key in the place of this one (None: there is none); the future has the row of the key that signs then.

    Of several that replace the same key at the same time one does, and all have its row.
    """
    new = _new_row(keys)

    def unit(tx: Tx) -> signing_keys.Row:
        return signing_keys.replace(tx, replaced, new)

    return store.submit(unit)


def replace_newest(store: Store, keys: Keys) -> signing_keys.Row:
    """A new key now, whatever the age of the one before. Raises: Unavailable."""
    signs = _newest(store.read(signing_keys.every))
    return rotate(store, keys, None if signs is None else signs.kid).result(30)


def open_private(keys: Keys, row: signing_keys.Row) -> dict[str, Any]:
    """The private key (JWK) of one that is not retired. Raises: Unreadable."""
    assert row.key is not None
    assert row.private is not None
    found: dict[str, Any] = msgspec.json.decode(keys.open(row.key, row.private, signing_keys.bound_to(row.kid)))
    return found


def _newest(rows: list[signing_keys.Row]) -> signing_keys.Row | None:
    return next((row for row in reversed(rows) if row.retired_at is None), None)


def _new_row(keys: Keys) -> signing_keys.Row:
    """A fresh key, named by its thumbprint (RFC 7638)."""
    from joserfc.jwk import ECKey  # noqa: PLC0415

    key = ECKey.generate_key(signed.CURVE, private=True, auto_kid=False)
    kid = key.thumbprint()
    private = msgspec.json.encode(key.as_dict(private=True)).decode()
    sealed = keys.seal(private, signing_keys.bound_to(kid), os.urandom(NONCE_BYTES))
    public = msgspec.json.encode(key.as_dict(private=False)).decode()
    return signing_keys.Row(kid, signed.ALGORITHM, public, keys.newest, sealed, 0, None)
