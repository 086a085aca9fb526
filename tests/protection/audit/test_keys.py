"""The audit secret: one file that only its owner can read, or one setting for all replicas."""

import base64
from pathlib import Path

import pytest

from handrail.protection.audit import AuditKeysExposed, audit_keys


class TestAuditKeys:
    def test_are_the_same_at_the_next_start(self, tmp_path: Path) -> None:
        first, second = audit_keys(tmp_path), audit_keys(tmp_path)
        assert first.signing.key_id == second.signing.key_id
        assert first.pseudonyms.of("acme", "ann") == second.pseudonyms.of("acme", "ann")
        assert (tmp_path / "audit.key").stat().st_mode & 0o777 == 0o600

    def test_of_a_setting_touch_no_file(self, tmp_path: Path) -> None:
        given = base64.b64encode(b"s" * 32).decode()
        assert audit_keys(tmp_path, given).signing.key_id == audit_keys(tmp_path / "other", given).signing.key_id
        assert list(tmp_path.iterdir()) == []

    def test_that_others_can_read_are_refused(self, tmp_path: Path) -> None:
        audit_keys(tmp_path)
        (tmp_path / "audit.key").chmod(0o644)
        with pytest.raises(AuditKeysExposed, match="others can read"):
            audit_keys(tmp_path)

    @pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"short").decode()])
    def test_that_are_no_secret_are_refused_and_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "audit.key").write_text(text)
        (tmp_path / "audit.key").chmod(0o600)
        with pytest.raises(AuditKeysExposed, match=r"audit\.key"):
            audit_keys(tmp_path)
        with pytest.raises(AuditKeysExposed, match="HANDRAIL_AUDIT__SECRET"):
            audit_keys(tmp_path, text)
