import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from handrail.core.clock import FrozenClock
from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.protection.auth import (
    LOCAL_OPERATOR,
    Authenticator,
    KeyStore,
    Unauthenticated,
)
from handrail.protection.auth.signing_keys import (
    ASK_AGAIN_SECONDS,
    PublicKeys,
    SharedSecret,
    SigningKeysUnavailable,
    public_keys,
    reader,
)
from handrail.protection.auth.tokens import MOST_REMEMBERED, TokenVerifier
from handrail.settings import AuthSettings, read_settings

SECRET = b"s" * 32
ISSUER = "https://login.example"
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"}, private=True)
EC = ECKey.generate_key("P-256", parameters={"kid": "ec"}, private=True)
ED = OKPKey.generate_key("Ed25519", parameters={"kid": "ed"}, private=True)
OTHER = ECKey.generate_key("P-256", parameters={"kid": "new"}, private=True)
EXPECTED = AuthSettings(keys="unused", issuer=ISSUER, audience="handrail", roles_claim="access.roles", teams_claim="t")


def key_set(*keys: Key) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


class Issuer:
    """An issuer's key set in memory, which may change or go away."""

    def __init__(self, *keys: Key) -> None:
        self.body: bytes | None = key_set(*keys)
        self.reads = 0

    async def read(self) -> bytes:
        self.reads += 1
        if self.body is None:
            raise OSError("gone")
        return self.body


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(RSA, EC, ED)


def claims(clock: FrozenClock, **changed: Any) -> dict[str, Any]:
    now = clock.micros() // 1_000_000
    all_of_them = {"iss": ISSUER, "aud": "handrail", "sub": "ann", "iat": now, "exp": now + 600, **changed}
    return {name: value for name, value in all_of_them.items() if value is not ...}


def token(
    clock: FrozenClock, key: Key = EC, alg: str = "ES256", *, head: Mapping[str, Any] = {}, **changed: Any
) -> str:
    header = {"alg": alg, "kid": key.kid, **head}
    header = {name: value for name, value in header.items() if value is not None}
    return jwt.encode(header, claims(clock, **changed), key, algorithms=[alg])


def by_hand(header: Any, body: Any, signature: bytes = b"x") -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def authenticator(db: Database, clock: FrozenClock, source: Any, expected: AuthSettings = EXPECTED) -> Authenticator:
    if isinstance(source, Issuer):
        source = PublicKeys(source.read, clock, keep_seconds=300, stale_seconds=3600)
    return Authenticator(KeyStore(db), clock, None, TokenVerifier(source, expected, clock))


async def ask(who: Authenticator, text: str) -> Principal:
    return await who.authenticate(f"Bearer {text}", loopback=False)


class TestAccepted:
    @pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (EC, "ES256"), (ED, "Ed25519")])
    async def test_a_token_signed_by_the_issuer_is_its_subject(
        self, db: Database, clock: FrozenClock, issuer: Issuer, key: Key, alg: str
    ) -> None:
        principal = await ask(authenticator(db, clock, issuer), token(clock, key, alg))

        assert principal == Principal("default", "ann", frozenset({Role.END_USER}), key_id=f"jwt:{ISSUER}")

    async def test_a_shared_secret_verifies_hs256(self, db: Database, clock: FrozenClock) -> None:
        source = SharedSecret(base64.b64encode(SECRET).decode())

        principal = await ask(authenticator(db, clock, source), token(clock, OctKey.import_key(SECRET), "HS256"))

        assert principal.subject == "ann"

    async def test_a_pem_file_verifies_tokens_with_and_without_a_key_id(
        self, db: Database, clock: FrozenClock, tmp_path: Path
    ) -> None:
        (tmp_path / "key.pem").write_bytes(EC.as_pem(private=False))
        keys = PublicKeys(reader(str(tmp_path / "key.pem")), clock, keep_seconds=300, stale_seconds=3600)
        who = authenticator(db, clock, keys)

        assert (await ask(who, token(clock))).subject == "ann"
        assert (await ask(who, token(clock, head={"kid": None}))).subject == "ann"

    async def test_claims_name_tenant_roles_scopes_and_teams(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        expected = EXPECTED.model_copy(update={"tenant_claim": "org", "scopes_claim": "scope"})
        text = token(
            clock, org="acme", scope="a b", t=["fraud"], access={"roles": ["approver", "end_user", "offline_access"]}
        )

        principal = await ask(authenticator(db, clock, issuer, expected), text)

        assert principal == Principal(
            "acme",
            "ann",
            frozenset({Role.APPROVER}),
            frozenset({"a", "b"}),
            f"jwt:{ISSUER}",
            frozenset({"fraud"}),
        )

    @pytest.mark.parametrize("given", [{}, {"scope": ""}, {"scope": []}, {"scope": 7}, {"scope": {"a": 1}}])
    async def test_a_token_without_scopes_is_refused_where_scopes_are_expected(
        self, db: Database, clock: FrozenClock, issuer: Issuer, given: dict[str, Any]
    ) -> None:
        expected = EXPECTED.model_copy(update={"scopes_claim": "scope"})
        with pytest.raises(Unauthenticated, match="no scopes in 'scope'"):
            await ask(authenticator(db, clock, issuer, expected), token(clock, **given))

    async def test_an_end_user_is_in_no_team(self, db: Database, clock: FrozenClock, issuer: Issuer) -> None:
        assert (await ask(authenticator(db, clock, issuer), token(clock, t=["fraud"]))).teams == frozenset()

    async def test_clocks_may_differ_by_the_leeway(self, db: Database, clock: FrozenClock, issuer: Issuer) -> None:
        now = clock.micros() // 1_000_000

        assert (await ask(authenticator(db, clock, issuer), token(clock, exp=now - 29, nbf=now + 29))).subject == "ann"


class TestRefused:
    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"iss": "https://evil.example"}, "issuer"),
            ({"iss": ...}, "issuer"),
            ({"aud": "other"}, "not for"),
            ({"aud": ["other"]}, "not for"),
            ({"aud": ...}, "not for"),
            ({"aud": {"handrail": 1}}, "not for"),
            ({"exp": ...}, "never expires"),
            ({"exp": 1}, "expired"),
            ({"exp": "9999999999"}, "not a time"),
            ({"exp": True}, "not a time"),
            ({"exp": float("inf")}, "not a time|claims"),
            ({"exp": float("nan")}, "not a time|claims"),
            ({"exp": 10**400}, "not a time"),
            ({"nbf": 9_999_999_999}, "not valid yet"),
            ({"iat": 9_999_999_999}, "not valid yet"),
            ({"sub": ...}, "'sub'"),
            ({"sub": ""}, "'sub'"),
            ({"sub": 7}, "'sub'"),
            ({"sub": "a\0b"}, "'sub'"),
            ({"sub": "x" * 201}, "'sub'"),
        ],
        ids=lambda value: str(value)[:40],
    )
    async def test_wrong_claims(
        self, db: Database, clock: FrozenClock, issuer: Issuer, changed: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(Unauthenticated, match=why):
            await ask(authenticator(db, clock, issuer), token(clock, **changed))

    async def test_a_token_without_the_tenant_that_is_asked_for(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        expected = EXPECTED.model_copy(update={"tenant_claim": "org"})

        with pytest.raises(Unauthenticated, match="'org'"):
            await ask(authenticator(db, clock, issuer, expected), token(clock))

    async def test_nobody_becomes_the_local_operator_by_a_token(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        roles = {"roles": [role.value for role in LOCAL_OPERATOR.roles]}

        with pytest.raises(Unauthenticated, match="reserved"):
            await ask(authenticator(db, clock, issuer), token(clock, sub=LOCAL_OPERATOR.subject, access=roles))

    @pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
    async def test_unsigned(self, db: Database, clock: FrozenClock, issuer: Issuer, alg: str) -> None:
        unsigned = by_hand({"alg": alg}, claims(clock))

        for text in (unsigned, unsigned.rpartition(".")[0] + "."):
            with pytest.raises(Unauthenticated, match="refused"):
                await ask(authenticator(db, clock, issuer), text)

    @pytest.mark.parametrize("form", ["pem", "jwk"])
    async def test_a_public_key_used_as_the_secret(
        self, db: Database, clock: FrozenClock, issuer: Issuer, form: str
    ) -> None:
        import hashlib
        import hmac

        public = RSA.as_pem(private=False) if form == "pem" else json.dumps(RSA.as_dict(private=False)).encode()
        signed = by_hand({"alg": "HS256", "kid": "rsa"}, claims(clock)).rpartition(".")[0]
        mac = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()

        with pytest.raises(Unauthenticated, match="algorithm 'HS256'"):
            await ask(authenticator(db, clock, issuer), f"{signed}.{mac}")

    async def test_a_key_of_another_kind_than_the_algorithm(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        with pytest.raises(Unauthenticated, match="no key"):
            await ask(authenticator(db, clock, issuer), by_hand({"alg": "RS256", "kid": "ec"}, claims(clock)))

    @pytest.mark.parametrize(
        "head",
        [
            {"jwk": OTHER.as_dict(private=False)},
            {"jku": "https://evil.example/keys"},
            {"x5u": "https://evil.example/cert"},
            {"x5c": ["MII"]},
            {"crit": ["exp"]},
            {"b64": False},
            {"zip": "DEF"},
            {"kid": 7},
            {"kid": ["ec"]},
            {"typ": "logout+jwt"},
        ],
        # Not the values: the key in one of them is another at each start.
        ids=lambda head: f"{next(iter(head))}",
    )
    async def test_a_header_that_brings_a_key_or_changes_the_reading(
        self, db: Database, clock: FrozenClock, issuer: Issuer, head: dict[str, Any]
    ) -> None:
        with pytest.raises(Unauthenticated, match=r"header|type"):
            await ask(authenticator(db, clock, issuer), by_hand({"alg": "ES256", "kid": "ec", **head}, claims(clock)))

    @pytest.mark.parametrize("kid", ["../../etc/passwd", "/dev/null", "' OR 1=1 --", "http://evil.example", "", "EC"])
    async def test_a_key_id_is_only_a_name(self, db: Database, clock: FrozenClock, issuer: Issuer, kid: str) -> None:
        with pytest.raises(Unauthenticated, match="no key"):
            await ask(authenticator(db, clock, issuer), token(clock, head={"kid": kid}))

    async def test_a_token_without_key_id_when_two_keys_fit(self, db: Database, clock: FrozenClock) -> None:
        with pytest.raises(Unauthenticated, match="no key"):
            await ask(authenticator(db, clock, Issuer(EC, OTHER)), token(clock, head={"kid": None}))

    async def test_anything_changed_or_signed_by_somebody_else(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who, good = authenticator(db, clock, issuer), token(clock)
        header, body, signature = good.split(".")
        changed = by_hand({}, claims(clock, sub="bob")).split(".")[1]

        for text in (
            f"{header}.{changed}.{signature}",
            f"{header}.{body}.{signature[:-4]}",
            f"{header}.{body}.AAAA",
            token(clock, OTHER, head={"kid": "ec"}),
            by_hand([], {}),
            "a.b.c",
            f"{header}.{body}.{'A' * 9000}",
            "é.é.é",
        ):
            with pytest.raises(Unauthenticated):
                await ask(who, text)

    async def test_without_tokens_set_up_one_is_not_looked_at(self, db: Database, clock: FrozenClock) -> None:
        with pytest.raises(Unauthenticated):
            await ask(Authenticator(KeyStore(db), clock), token(clock))

    async def test_with_tokens_set_up_the_demo_is_closed(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who = authenticator(db, clock, issuer)
        await who.start()

        assert who.has_keys
        with pytest.raises(Unauthenticated):
            await who.authenticate(None, loopback=True, surface="console")


class TestMemory:
    async def test_a_token_is_remembered_until_it_expires(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who, text = authenticator(db, clock, issuer), token(clock)
        first = await ask(who, text)
        clock.advance(200)
        again = await ask(who, text)
        clock.advance(430)

        assert again is first
        with pytest.raises(Unauthenticated, match="expired"):
            await ask(who, text)

    async def test_holds_a_bounded_number_and_nothing_refused(self, clock: FrozenClock) -> None:
        source = SharedSecret(base64.b64encode(SECRET).decode())
        verifier, key = TokenVerifier(source, EXPECTED, clock), OctKey.import_key(SECRET)
        text = token(clock, key, "HS256")
        for n in range(MOST_REMEMBERED + 5):
            await verifier.verify(text, n.to_bytes(4))

        assert (verifier.remembered((4).to_bytes(4)), verifier.remembered((5).to_bytes(4)) is None) == (None, False)


class TestRotation:
    async def test_a_new_key_is_found_by_the_first_token_of_it(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who = authenticator(db, clock, issuer)
        await ask(who, token(clock))
        issuer.body = key_set(EC, OTHER)
        clock.advance(ASK_AGAIN_SECONDS)

        assert (await ask(who, token(clock, OTHER))).subject == "ann"

    async def test_made_up_key_ids_ask_the_issuer_once_in_half_a_minute(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who = authenticator(db, clock, issuer)
        await ask(who, token(clock))
        for n in range(50):
            clock.advance(1)
            with pytest.raises(Unauthenticated):
                await ask(who, token(clock, head={"kid": f"made-up-{n}"}))

        assert issuer.reads == 2

    async def test_a_withdrawn_key_ends_tokens_that_are_remembered(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who, text = authenticator(db, clock, issuer), token(clock)
        await ask(who, text)
        issuer.body = key_set(OTHER)
        clock.advance(ASK_AGAIN_SECONDS)
        await ask(who, token(clock, OTHER))

        with pytest.raises(Unauthenticated, match="no key"):
            await ask(who, text)

    async def test_while_the_issuer_is_away_its_keys_serve_for_a_bounded_time(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        who, text = authenticator(db, clock, issuer), token(clock, exp=clock.micros() // 1_000_000 + 90_000)
        await ask(who, text)
        issuer.body = None
        clock.advance(3599)
        assert (await ask(who, text)).subject == "ann"
        clock.advance(60)

        for asked in (text, token(clock)):
            with pytest.raises(SigningKeysUnavailable, match="can't be read"):
                await ask(who, asked)

    async def test_an_issuer_that_was_never_reached_refuses(
        self, db: Database, clock: FrozenClock, issuer: Issuer
    ) -> None:
        issuer.body = None
        who = authenticator(db, clock, issuer)
        with pytest.raises(SigningKeysUnavailable) as refused:
            await ask(who, token(clock))

        issuer.body = key_set(EC)
        clock.advance(ASK_AGAIN_SECONDS)
        assert refused.value.retry_after_seconds == ASK_AGAIN_SECONDS
        assert (await ask(who, token(clock))).subject == "ann"

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [1]}', b"<html>"])
    def test_what_is_no_key_set_is_refused(self, body: bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            public_keys(body)

    def test_keys_that_are_weak_symmetric_or_for_something_else_are_passed_over(self) -> None:
        good = EC.as_dict(private=False)
        bad = [
            OctKey.import_key(SECRET).as_dict(),
            {**good, "use": "enc"},
            {**good, "key_ops": ["sign"]},
            {**good, "alg": "ES512"},
            {**good, "x": "AAAA"},
            ECKey.generate_key("P-384", private=True).as_dict(private=False),
        ]

        assert [key.kid for key in public_keys(json.dumps({"keys": [*bad, good]}).encode())] == ["ec"]


class TestFetch:
    async def test_reads_a_key_set_over_http_and_follows_no_redirect(
        self, db: Database, clock: FrozenClock, anyio_backend: str
    ) -> None:
        async def keys(_: web.Request) -> web.Response:
            return web.Response(body=key_set(EC), content_type="application/json")

        async def away(_: web.Request) -> web.Response:
            raise web.HTTPFound("/keys")

        async def huge(_: web.Request) -> web.Response:
            return web.Response(body=b" " * 300_000 + key_set(EC))

        app = web.Application()
        app.add_routes([web.get("/keys", keys), web.get("/away", away), web.get("/huge", huge)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            got = await reader(f"{address}/keys")()
            for path in ("away", "huge"):
                with pytest.raises(ValueError, match=r"status 302|over 262144"):
                    await reader(f"{address}/{path}")()
        finally:
            await runner.cleanup()
        assert [key.kid for key in public_keys(got)] == ["ec"]

    @pytest.mark.parametrize("place", ["http://login.example/keys", "ftp://login.example/keys", "file:///etc/passwd"])
    def test_only_https_or_a_file(self, place: str) -> None:
        with pytest.raises(UsageError, match=re.escape(place)):
            reader(place)


class TestSettings:
    @pytest.mark.parametrize("secret", ["not base64!", base64.b64encode(b"short").decode()])
    def test_a_weak_secret_is_refused_without_being_repeated(self, secret: str) -> None:
        with pytest.raises(UsageError, match="HANDRAIL_AUTH__SECRET") as refused:
            SharedSecret(secret)
        assert secret not in refused.value.message

    def test_tokens_need_issuer_and_audience_and_one_kind_of_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HANDRAIL_AUTH__SECRET", "c2VjcmV0")
        with pytest.raises(UsageError, match="HANDRAIL_AUTH__ISSUER") as refused:
            read_settings()
        monkeypatch.setenv("HANDRAIL_AUTH__KEYS", "keys.json")
        with pytest.raises(UsageError, match="not both"):
            read_settings()
        assert "c2VjcmV0" not in refused.value.message
