"""An older backup in the place of a later database: what is gone from the audit log shows."""

from pathlib import Path

import pytest

from tests.integration.processes import run

pytestmark = pytest.mark.slow


def test_a_backup_that_is_older_than_a_kept_checkpoint_is_not_proved(tmp_path: Path):
    def handrail(*arguments: str) -> str:
        done = run(*arguments, home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    handrail("keys", "create", "--subject", "olga")
    handrail("switch", "off", "tool", "refund", "--reason", "it pays twice")
    kept = tmp_path / "kept.jsonl"
    kept.write_text(handrail("audit", "checkpoint"))
    handrail("db", "backup", "old.db")
    handrail("switch", "on", "tool", "refund", "--reason", "mended")
    later = tmp_path / "later.jsonl"
    later.write_text(handrail("audit", "checkpoint"))
    handrail("db", "restore", "old.db")
    assert run("audit", "verify", "--checkpoints", str(kept), home=tmp_path).returncode == 0
    verified = run("audit", "verify", "--checkpoints", str(later), home=tmp_path)
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert "are not the ones it was signed over" in verified.stdout
    assert "no checkpoint from elsewhere was given" not in verified.stdout
