"""Privacy: personal data is found before it goes where it shouldn't, and no log line holds any.

Finds it in messages as they come in, with the question before them, and masks every log line last before it is written.
Depends on nothing outside the process; what the log can't read it withholds (closed).
"""

from handrail.protection.privacy.detector import find_personal_data, find_structured, personal_in
from handrail.protection.privacy.redaction import redact_event, redact_text
from handrail.protection.privacy.spans import Kind, Span

__all__ = ["Kind", "Span", "find_personal_data", "find_structured", "personal_in", "redact_event", "redact_text"]
