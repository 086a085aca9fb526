"""Releases: immutable snapshots of an agent project, stored, compared, and loaded side by side.

Promise: what answers is exactly what was stored under the release's id, verified by its digest at every load, and the
code of one release can't see another's. Acts when a release is made or first needed by a turn. Closed: a snapshot
that is incomplete, altered or can't be imported is refused, and the stable release stays what it was.
"""

from handrail.delivery.releases.bodies import agent_body, diff_body, files_body, release_body
from handrail.delivery.releases.diff import FileChange, diff
from handrail.delivery.releases.git import NO_GIT, GitState, git_state
from handrail.delivery.releases.loader import LoadedPackage, Loader, project_path
from handrail.delivery.releases.policies import PoliciesFile
from handrail.delivery.releases.sources import FORMAT_VERSION, Sources, read_sources
from handrail.delivery.releases.store import (
    AgentState,
    Artefact,
    NewRelease,
    Release,
    ReleaseAltered,
    ReleaseCollision,
    ReleaseStore,
)

__all__ = [
    "FORMAT_VERSION",
    "NO_GIT",
    "AgentState",
    "Artefact",
    "FileChange",
    "GitState",
    "LoadedPackage",
    "Loader",
    "NewRelease",
    "PoliciesFile",
    "Release",
    "ReleaseAltered",
    "ReleaseCollision",
    "ReleaseStore",
    "Sources",
    "agent_body",
    "diff",
    "diff_body",
    "files_body",
    "git_state",
    "project_path",
    "read_sources",
    "release_body",
]
