"""Guardrails: what is accepted as a user's message, whether a text tries to instruct the model, and what goes out.

Acts when a message arrives, before it is stored; on each tool result; and on the answer while it streams. The agent's
policy says what happens. Depends on nothing outside itself. A message it does not understand it refuses (closed). What
detection does not recognise goes on (open): it is a layer, not the boundary. An error in a guardrail ends the turn, or
keeps it from beginning: nothing unseen goes in or out (closed).
"""

from handrail.protection.guardrails.addresses import hosts_in
from handrail.protection.guardrails.calibration import read_thresholds
from handrail.protection.guardrails.detector import Detector, Finding
from handrail.protection.guardrails.head import CHANNELS, Channel
from handrail.protection.guardrails.input import InputLimits, InvalidMessage, admit_text, strictest
from handrail.protection.guardrails.leaks import KnownStrings
from handrail.protection.guardrails.output import AnswerRefused, OutputFilter, OutputGuardrail, OutputScanner
from handrail.protection.guardrails.overlap import Instructions
from handrail.protection.guardrails.policy import InputGuardrail, Judgement, Tripped, judge, unknown_categories
from handrail.protection.guardrails.schema import GuardrailsPolicy

__all__ = [
    "CHANNELS",
    "AnswerRefused",
    "Channel",
    "Detector",
    "Finding",
    "GuardrailsPolicy",
    "InputGuardrail",
    "InputLimits",
    "Instructions",
    "InvalidMessage",
    "Judgement",
    "KnownStrings",
    "OutputFilter",
    "OutputGuardrail",
    "OutputScanner",
    "Tripped",
    "admit_text",
    "hosts_in",
    "judge",
    "read_thresholds",
    "strictest",
    "unknown_categories",
]
