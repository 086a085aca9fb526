"""Whatever a provider, an answer or a cookie says: a declared error, or what they may say."""

import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.errors import HandrailError
from handrail.core.principal import Principal, Role
from handrail.protection.auth.claims import TokenRefused
from handrail.protection.auth.discovery import read_discovery
from handrail.protection.auth.id_token import OidcTerms, check_id_token, staff_of_claims
from handrail.protection.auth.visits import Visit

ISSUER = "https://login.example.com"
NAMES = [
    "issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "token_endpoint_auth_methods_supported",
    "authorization_response_iss_parameter_supported",
]  # fmt: skip
CLAIMS = ["sub", "nonce", "aud", "azp", "iat", "roles", "teams", "tid", "email", "email_verified"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ADDRESSES = st.text(max_size=30) | st.sampled_from(
    [f"{ISSUER}/a", "http://login.example.com/a", "https://", "https://[::1", "https://a b", "https://a\r\nx: y", "//x"]
)
TERMS = OidcTerms(
    "SSO", ISSUER, "handrail", "https://agents.example.com", {"Ops": frozenset({Role.OPERATOR})}, teams_claim="teams"
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON | ADDRESSES | st.just(ISSUER)) | JSON)
def test_a_document_leads_only_to_addresses_with_tls(document: Any):
    try:
        found = read_discovery(document, ISSUER)
    except ValueError:
        return
    for address in (found.authorization, found.token, found.keys):
        assert urlsplit(address).scheme == "https"
        assert urlsplit(address).hostname
        assert address.isprintable()
        assert " " not in address


def test_a_document_of_a_provider_on_another_machine_leads_to_no_plain_address_of_ours():
    document = dict.fromkeys(NAMES, "http://127.0.0.1/x") | {"issuer": ISSUER}
    with pytest.raises(ValueError, match="not https"):
        read_discovery(document, ISSUER)


@given(st.dictionaries(st.sampled_from(CLAIMS), JSON | st.just("Ops") | st.just(["Ops"])))
def test_claims_stand_for_staff_or_nobody(claims: dict[str, Any]):
    try:
        check_id_token(claims, TERMS, "nonce", time.time())
    except TokenRefused:
        pass
    else:
        assert claims["nonce"] == "nonce"
    try:
        principal = staff_of_claims(claims, TERMS)
    except (TokenRefused, HandrailError):
        return
    assert principal.roles == {Role.OPERATOR}
    assert isinstance(principal, Principal)


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]{43}\.[0-9]{1,12}\.~[a-z~]{0,20}", fullmatch=True))
def test_any_cookie_is_a_visit_of_the_last_ten_minutes_or_none(cookie: str):
    visit = Visit.of(cookie, 1_000)
    assert visit is None or (400 <= visit.at <= 1_000 and visit.onward.startswith("/") and len(visit.secret) == 43)


@given(st.integers(0, 600), st.from_regex(r"/console/[a-z_/-]{0,40}", fullmatch=True))
def test_a_cookie_brings_back_all_that_was_derived_from_it(later: int, onward: str):
    visit = Visit.begin(1_000, onward)
    back = Visit.of(visit.cookie, 1_000 + later)
    assert back == visit
    assert (back.state, back.nonce, back.verifier) == (visit.state, visit.nonce, visit.verifier)
    assert len({visit.state, visit.nonce, visit.verifier, visit.challenge, visit.secret}) == 5
    assert visit.secret not in repr(visit)
    assert Visit.begin(1_000, onward).state != visit.state
