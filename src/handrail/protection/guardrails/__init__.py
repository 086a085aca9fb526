"""Guardrails: what is accepted as a user's message, in which form, and whether a text tries to instruct the model.

Acts when a message arrives, before it is stored, and by the agent's policy: what it finds is flagged, answered by a
person, or refused. Depends on nothing outside itself. A message it does not understand it refuses (closed). Detection
is a layer, not the boundary: what it does not recognise goes on (open).
"""

from handrail.protection.guardrails.calibration import read_thresholds
from handrail.protection.guardrails.detector import Detector, Finding
from handrail.protection.guardrails.head import CHANNELS, Channel
from handrail.protection.guardrails.input import InputLimits, InvalidMessage, admit_text, strictest
from handrail.protection.guardrails.policy import InputGuardrail, Judgement, Tripped, judge, unknown_categories
from handrail.protection.guardrails.schema import GuardrailsPolicy

__all__ = [
    "CHANNELS",
    "Channel",
    "Detector",
    "Finding",
    "GuardrailsPolicy",
    "InputGuardrail",
    "InputLimits",
    "InvalidMessage",
    "Judgement",
    "Tripped",
    "admit_text",
    "judge",
    "read_thresholds",
    "strictest",
    "unknown_categories",
]
