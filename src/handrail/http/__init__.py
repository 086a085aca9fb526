"""The HTTP API: JSON, server-sent events, WebSocket and the OpenAI-shaped endpoints."""
