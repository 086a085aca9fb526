"""Tokens and key sets are whatever somebody sends: good, or refused with a reason, and nothing else."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.principal import Principal
from handrail.protection.auth.claims import (
    MOST_CHARACTERS,
    RESERVED,
    TokenRefused,
    check_claims,
    header_of,
    principal_of_claims,
)
from handrail.protection.auth.signing_keys import PUBLIC, public_keys
from tests.declared import only

NAMES = SimpleNamespace(
    issuer="i", audience="a", leeway_seconds=30.0, tenant="default", tenant_claim="org.id", subject_claim="sub",
    roles_claim="realm.roles", scopes_claim="scope", teams_claim="teams",
)  # fmt: skip
TEXTS = st.text(max_size=6)
VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from(["i", "a", "admin", "local-operator", ["a"], {"id": "t"}, {"roles": ["admin", 5, None]}])
    | st.lists(TEXTS | st.integers(), max_size=3)
)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class TestHeader:
    @given(
        TEXTS
        | st.text(alphabet="ab._-=+/", max_size=30)
        | st.dictionaries(st.sampled_from(["alg", "typ", "kid", "jwk", "crit"]), VALUES).map(
            lambda header: f"{encoded(header)}.e30.x"
        )
        | st.binary(min_size=1, max_size=30).map(
            lambda raw: f"{base64.urlsafe_b64encode(raw).decode().rstrip('=')}.a.b"
        )
    )
    def test_any_text_is_a_header_of_ours_or_refused(self, text: str) -> None:
        with only(TokenRefused):
            assert header_of(text, frozenset({"RS256"})).alg == "RS256"

    @pytest.mark.parametrize("text", ["a" * 100_000, f"{'a' * MOST_CHARACTERS}.b.c", f"{encoded('[' * 3000)}.b.c"])
    def test_what_is_long_or_bottomless_is_refused(self, text: str) -> None:
        with pytest.raises(TokenRefused):
            header_of(text, frozenset({"RS256"}))


class TestClaims:
    @given(
        st.dictionaries(
            st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "org", "org.id", "realm", "scope", "teams"]),
            VALUES,
        )
    )
    def test_any_claims_are_a_principal_or_refused(self, claims: dict[str, Any]) -> None:
        with only(TokenRefused):
            principal = principal_of_claims(claims, NAMES)
            assert isinstance(principal, Principal)
            assert principal.subject not in RESERVED
        with only(TokenRefused):
            assert check_claims(claims, NAMES, 1000.0) > 1000.0


PARTS: st.SearchStrategy[Any] = (
    VALUES
    | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "verify", ["verify"], {}, "x" * 43])
    | st.binary(max_size=70).map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="))
)
KEYS = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct", 5, None])},
    optional=dict.fromkeys(["n", "e", "crv", "x", "y", "d", "use", "key_ops", "alg", "kid", "p", "x5c", "k"], PARTS),
)


class TestKeySet:
    @given(
        st.binary(max_size=40)
        | st.lists(KEYS | VALUES, max_size=3).map(lambda keys: json.dumps({"keys": keys}).encode())
        | VALUES.map(lambda keys: json.dumps({"keys": keys}).encode())
        | st.binary(max_size=60).map(
            lambda raw: b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(raw) + b"\n-----END PUBLIC KEY-----\n"
        )
    )
    def test_any_bytes_are_public_keys_or_said_to_be_none(self, raw: bytes) -> None:
        with only(ValueError):
            assert all(key.algorithms <= PUBLIC for key in public_keys(raw))

    @pytest.mark.parametrize(("name", "value"), [("key_ops", None), ("key_ops", 5), ("alg", ["ES256"]), ("alg", {})])
    def test_a_key_with_a_field_of_another_kind_is_passed_over(self, name: str, value: object) -> None:
        good = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        assert len(public_keys(json.dumps({"keys": [good]}).encode())) == 1
        with pytest.raises(ValueError, match="no public key"):
            public_keys(json.dumps({"keys": [good | {name: value}]}).encode())
