"""Releases as they stand in API bodies and in `--json` output."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from handrail.core.clock import iso
from handrail.delivery.releases.diff import FileChange
from handrail.delivery.releases.sources import Sources
from handrail.delivery.releases.store import AgentState, Release


def release_body(release: Release, *, stable: bool) -> dict[str, Any]:
    return {
        "id": release.id,
        "object": "release",
        "agent": release.agent,
        "stable": stable,
        "digest": release.digest,
        "format_version": release.format_version,
        "note": release.note,
        "author": release.author,
        "git_commit": release.git_commit,
        "git_dirty": release.git_dirty,
        "lock_hash": release.lock_hash,
        "created_at": iso(release.created_at),
    }


def files_body(sources: Sources) -> list[dict[str, Any]]:
    return [
        {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in sources.files.items()
    ]


def diff_body(old: str, new: str, changes: Sequence[FileChange]) -> dict[str, Any]:
    return {"object": "release_diff", "old": old, "new": new, "changes": [asdict(change) for change in changes]}


def agent_body(state: AgentState) -> dict[str, Any]:
    return {
        "object": "agent",
        "name": state.name,
        "stable_release_id": state.stable_release_id,
        "previous_release_id": state.previous_release_id,
        "updated_at": iso(state.updated_at),
    }
