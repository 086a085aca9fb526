"""Models: one way to call them all, streamed.

Promise: whatever a provider sends, a caller gets text and reasoning as they come and then one whole answer, or a
`ModelError` that says what went wrong without showing a key. Nothing is retried here, and no other model is tried: that
is the governor's (`flows/model_call.py`). Passages and what a client brought along reach the model labelled as data.

Acts inside the agent loop. Closed: a model that fails raises.
"""

from handrail.serving.models.connections import ConnectionSettings, ModelConnections
from handrail.serving.models.extractive import Extract, ExtractiveModel, Extractor
from handrail.serving.models.openai_compatible import Endpoint, OpenAICompatibleModel
from handrail.serving.models.registry import ModelRegistry, Models, ModelTier, TierStatus, UnconfiguredModel
from handrail.serving.models.schema import ModelConfig, ModelParameters, ModelTiers
from handrail.serving.models.scripted import Reply, ScriptedModel, ScriptExhausted, calls

__all__ = [
    "ConnectionSettings",
    "Endpoint",
    "Extract",
    "ExtractiveModel",
    "Extractor",
    "ModelConfig",
    "ModelConnections",
    "ModelParameters",
    "ModelRegistry",
    "ModelTier",
    "ModelTiers",
    "Models",
    "OpenAICompatibleModel",
    "Reply",
    "ScriptExhausted",
    "ScriptedModel",
    "TierStatus",
    "UnconfiguredModel",
    "calls",
]
