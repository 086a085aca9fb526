"""The wing that answers: agents, models, tools, routing, dialogue, conversations, caching, resilience, context."""
