"""Guardrails: what is accepted as a user's message, and the form it is stored in.

Acts when a message arrives, before it is stored. Depends on nothing outside itself; what it does not understand it
refuses (closed).
"""

from handrail.protection.guardrails.input import InputLimits, InvalidMessage, admit_text, strictest

__all__ = ["InputLimits", "InvalidMessage", "admit_text", "strictest"]
