"""What a record may hold: identifiers as they are, everything else as an HMAC."""

from hypothesis import given
from hypothesis import strategies as st

from handrail.core import json
from handrail.core.principal import Principal, Role
from handrail.protection.audit import AuditEntry, AuditRecord, Pseudonyms

PSEUDONYMS = Pseudonyms(b"s" * 32)
ANNA = Principal("acme", "anna@example.com", frozenset({Role.APPROVER}))


def entry(**changes: object) -> AuditEntry:
    base = AuditEntry("acme", "approval.approved", "done", "approval:appr_1", ANNA)
    return AuditEntry(**{**{name: getattr(base, name) for name in AuditEntry.__slots__}, **changes})  # pyright: ignore[reportArgumentType]


class TestAuditRecord:
    def test_names_people_by_their_pseudonym_only(self) -> None:
        record = AuditRecord.of(entry(subject="bob@example.com"), 7, PSEUDONYMS)
        assert "example.com" not in record.body
        assert json.loads(record.body)["subject"] == PSEUDONYMS.of("acme", "bob@example.com")
        assert record.actor == PSEUDONYMS.of("acme", "anna@example.com")

    def test_the_product_itself_is_the_system(self) -> None:
        assert AuditRecord.of(entry(principal=None), 7, PSEUDONYMS).actor == "system"

    def test_keeps_codes_numbers_and_ids_readable(self) -> None:
        details = {"code": "permission_denied", "votes": 2, "edited": True, "release": "rel_1a2b"}
        record = AuditRecord.of(entry(details=tuple(details.items())), 7, PSEUDONYMS)
        assert json.loads(record.body)["details"] == details

    @given(st.text(min_size=1, max_size=60))
    def test_a_text_that_is_no_identifier_never_stands_in_it(self, text: str) -> None:
        record = AuditRecord.of(entry(details=(("said", f"{text} my card"),), target=f"user:{text} x"), 7, PSEUDONYMS)
        said = json.loads(record.body)
        assert said["details"]["said"].startswith("hmac:")
        assert said["target"].startswith("user:hmac:")

    def test_a_changed_column_contradicts_the_body(self) -> None:
        record = AuditRecord.of(entry(), 7, PSEUDONYMS)
        changed = AuditRecord(
            record.id, "acme", 7, "approval.rejected", "done", record.actor, record.target, record.body
        )
        assert record.contradicts_body() is None
        assert changed.contradicts_body() == "action"

    def test_a_body_that_is_not_json_contradicts_itself(self) -> None:
        assert AuditRecord("aud_1", "acme", 7, "a", "done", "system", "t:1", "{").contradicts_body() == "body"


class TestPseudonyms:
    def test_are_the_same_for_the_same_person_of_a_tenant_only(self) -> None:
        assert PSEUDONYMS.of("acme", "bob") == PSEUDONYMS.of("acme", "bob")
        assert PSEUDONYMS.of("acme", "bob") != PSEUDONYMS.of("globex", "bob")

    def test_a_tenant_can_not_run_into_the_value(self) -> None:
        assert PSEUDONYMS.of("a", "b:c") != PSEUDONYMS.of("a:b", "c")
