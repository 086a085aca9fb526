"""Models: one way to call them all, streamed.

Promise: whatever a provider sends, a caller gets text and reasoning as they come and then one whole answer, or a
`ModelError` that says what went wrong without showing a key. Nothing is retried here. Passages and what a client
brought along reach the model labelled as data.

Acts inside the agent loop. Closed: a model that fails raises, and the next one of its chain is tried only while
the user has seen nothing.
"""

from handrail.serving.models.connections import ConnectionSettings, ModelConnections
from handrail.serving.models.extractive import Extract, ExtractiveModel, Extractor
from handrail.serving.models.fallback import FallbackChain, OnFallback
from handrail.serving.models.openai_compatible import Endpoint, OpenAICompatibleModel
from handrail.serving.models.registry import ModelRegistry, Models, TierStatus, UnconfiguredModel
from handrail.serving.models.schema import ModelConfig, ModelParameters, ModelTiers
from handrail.serving.models.scripted import Reply, ScriptedModel, ScriptExhausted, calls

__all__ = [
    "ConnectionSettings",
    "Endpoint",
    "Extract",
    "ExtractiveModel",
    "Extractor",
    "FallbackChain",
    "ModelConfig",
    "ModelConnections",
    "ModelParameters",
    "ModelRegistry",
    "ModelTiers",
    "Models",
    "OnFallback",
    "OpenAICompatibleModel",
    "Reply",
    "ScriptExhausted",
    "ScriptedModel",
    "TierStatus",
    "UnconfiguredModel",
    "calls",
]
