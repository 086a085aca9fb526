"""Context: what a model gets to read about the agent and the conversation.

Promise: instructions hold no value that was not handed to them, and a history that is cut is cut between messages
and says so.

Acts before the agent loop. Closed: instructions that can't be rendered are refused when the release is made.
"""

from handrail.serving.context.history import fit
from handrail.serving.context.instructions import OUR_VARIABLES, Instructions
from handrail.serving.context.knowledge import Knowledge, extract

__all__ = ["OUR_VARIABLES", "Instructions", "Knowledge", "extract", "fit"]
