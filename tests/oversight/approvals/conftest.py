"""A store with the conversations and turns in place that approvals refer to."""

import pytest

from handrail.db import Database
from handrail.oversight.approvals import ApprovalStore
from tests.oversight.approvals.rows import prepare


@pytest.fixture
async def store(db: Database) -> ApprovalStore:
    await prepare(db)
    return ApprovalStore(db)
