"""Who has the database and not the key cannot write the chain anew unseen."""

import asyncio
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from audit.test_tampering import exported, sealed, told, verify
from penstock.audit import reading, signing
from penstock.audit.digests import make_seal
from penstock.errors import Invalid
from penstock.store import feed, seals
from penstock.store.rows import SEALS


def private(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OTHER = private(Ed25519PrivateKey.generate())


@contextlib.asynccontextmanager
async def signed(url):
    async with sealed(url, seals=0) as stage:
        stage.platform.sealer._sign = signing.signer(private(KEY))
        for n in range(3):
            await stage.start("s", {"n": n})
            await stage.sealed()
        yield stage


async def rewrite(stage, sign):
    """What an attacker with the database does: change a row, then make the whole chain anew."""
    await stage.edit("UPDATE history SET actor = 'app:innocent' WHERE tid = ?", stage.tid)
    before = await stage.store.async_read(lambda read: seals.after(read, stage.tid, 0, 100))
    await stage.edit("DELETE FROM seals")
    last = ""
    for old in before:
        rows = await stage.store.async_read(
            lambda read, old=old: feed.after(read, stage.tid, old.from_feed - 1, 1000, old.to_feed)
        )
        seal = make_seal(stage.actor.tenant.id, old.number, last, rows, old.at)
        seal = seal._replace(signature=sign(seal.digest, old))
        await stage.store.submit_async(lambda tx, seal=seal: tx.put(SEALS, (stage.tid, *seal)))
        last = seal.digest


def test_seals_are_signed_where_there_is_a_key(url):
    async def main():
        async with signed(url) as stage:
            report = verify(url, stage, check=signing.checker(PUBLIC))
            assert (report.found, report.signed) == (0, 3)
            # of a private key the public half is taken
            assert verify(url, stage, check=signing.checker(private(KEY))).found == 0
            assert len(told(verify(url, stage, check=signing.checker(OTHER)))) == 4
            assert reading.verify_file(await exported(stage), signing.checker(PUBLIC)).signed == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sign", "found"),
    [
        (lambda _digest, _old: None, 1),  # no seal is signed
        (lambda _digest, old: old.signature, 4),
        (lambda digest, _old: signing.signer(OTHER)(digest), 4),
    ],
)
def test_a_chain_written_anew_is_sound_without_the_key_and_found_out_with_it(url, sign, found):
    async def main():
        async with signed(url) as stage:
            await rewrite(stage, sign)
            assert verify(url, stage).found == 0
            assert verify(url, stage, check=signing.checker(PUBLIC)).found == found

    asyncio.run(main())


def test_seals_made_before_there_was_a_key_are_bound_by_the_first_signed_one(url):
    async def main():
        async with sealed(url, seals=2) as stage:
            stage.platform.sealer._sign = signing.signer(private(KEY))
            await stage.start("s")
            await stage.sealed()
            report = verify(url, stage, check=signing.checker(PUBLIC))
            assert (report.found, report.signed, report.seals) == (0, 1, 3)
            stage.platform.sealer._sign = None
            await stage.start("s")
            await stage.sealed()
            assert told(verify(url, stage, check=signing.checker(PUBLIC))) == [("seal", 4)]

    asyncio.run(main())


def test_seals_without_a_signature_are_one_finding_a_run_and_told_of_without_a_key(url):
    async def main():
        async with signed(url) as stage:
            assert await stage.store.async_read(seals.were_signed)
            assert verify(url, stage).signing_stopped is None
            for sign in (None, None, None, signing.signer(private(KEY)), None):
                stage.platform.sealer._sign = sign
                await stage.start("s")
                await stage.sealed()
            found = verify(url, stage, check=signing.checker(PUBLIC))
            assert [each.text for each in found.findings] == [
                "seals 4 to 6: they are not signed, and those before them are",
                "seal 8: it is not signed, and those before it are",
            ]
            assert (found.found, found.signed, found.signing_stopped) == (2, 4, 4)
            without = verify(url, stage)
            assert (without.found, without.signing_stopped) == (0, 4)
            # the last seal is bare: what was noted with the first signature tells
            assert await stage.store.async_read(seals.were_signed)
            await stage.edit("DELETE FROM meta WHERE key = 'seals_signed'")
            assert not await stage.store.async_read(seals.were_signed)

    asyncio.run(main())


def test_of_seals_signed_by_an_older_version_the_last_tells(url):
    async def main():
        async with signed(url) as stage:
            await stage.edit("DELETE FROM meta WHERE key = 'seals_signed'")
            assert await stage.store.async_read(seals.were_signed)
        async with sealed(url.replace("penstock.db", "other.db"), seals=1) as stage:
            if "sqlite" in url:
                assert not await stage.store.async_read(seals.were_signed)

    asyncio.run(main())


@pytest.mark.parametrize("text", ["", "no key", PUBLIC, private(X25519PrivateKey.generate())])
def test_a_key_that_is_none_is_refused(text):
    with pytest.raises(Invalid):
        signing.signer(text)
    if text != PUBLIC:
        with pytest.raises(Invalid):
            signing.checker(text)
