"""Background work as our own database knows it: the outbox of what is asked for, and what became of each run.

A row of the outbox is committed in the batch of what it belongs to, so neither is there without the other; the engine
reads it after the commit. Closed: what can't be stored is not asked for.
"""

from handrail.db.jobs.store import Executors, JobRun, JobRuns, Outbox

__all__ = ["Executors", "JobRun", "JobRuns", "Outbox"]
