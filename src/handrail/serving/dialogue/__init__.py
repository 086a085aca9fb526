"""Dialogue flows: the conversations an agent project has written down, played without a model.

Promise: a flow says only what its file says, asks for what is missing, changes nothing that the user has not
confirmed where the file asks to, and always ends: in an answer, a question or a handoff. Every tool call has an id
made from the turn and the step, so playing the same turn again finds the calls that were already made.

Acts after routing, in place of the agent loop, when the intent names a flow. Closed: when a template, a condition
or a tool fails, the flow stops with an honest sentence and hands the conversation to people.
"""

from handrail.serving.dialogue.engine import Dialogue
from handrail.serving.dialogue.flow import Flow, load_flow
from handrail.serving.dialogue.policy import find_value, leaves_flow, skips
from handrail.serving.dialogue.schema import FlowFile

__all__ = ["Dialogue", "Flow", "FlowFile", "find_value", "leaves_flow", "load_flow", "skips"]
