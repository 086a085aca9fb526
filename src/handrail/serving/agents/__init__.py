"""Agents: the loop between a model and the tools of a release.

Promise: a turn ends in an answer or in a polite, true sentence with an error code; it never runs longer than its
limits, and never runs a tool call that was cut off. A transcript that ends with tool results is gone on with.

Acts when a turn is routed to the agent; tools run through the flow's `call_tools`, which governs them. Closed: when
the model fails, the turn ends as failed.
"""

from handrail.serving.agents.loop import CallTools, EmptyAnswer, LoopRequest, Wording, answer
from handrail.serving.agents.policy import GoingInCircles, LoopLimits, LoopStopped, StepLimit, ToolCallLimit

__all__ = [
    "CallTools",
    "EmptyAnswer",
    "GoingInCircles",
    "LoopLimits",
    "LoopRequest",
    "LoopStopped",
    "StepLimit",
    "ToolCallLimit",
    "Wording",
    "answer",
]
