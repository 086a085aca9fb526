"""Privacy: no message text and no personal or payment data in a log line.

Acts on every line, last before it is written. Depends on nothing; what it can't read it withholds (closed).
"""

from handrail.protection.privacy.redaction import redact_event, redact_text

__all__ = ["redact_event", "redact_text"]
