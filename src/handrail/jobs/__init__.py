"""The background engine: schedules and queues on DBOS, beside the turns and never in their way.

Its promise: what was asked for in a committed batch runs at least once, and a schedule fires once however many
processes there are. Each job is one line in `flows/jobs.py`; here is only what runs them. Open: when the engine can't
start or loses its store, turns go on, what is asked for waits in the outbox, and `/readyz` says so.
"""

from handrail.jobs.engine import JobEngine, running_jobs

__all__ = ["JobEngine", "running_jobs"]
