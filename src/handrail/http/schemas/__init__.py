"""What the OpenAPI document says of answers. Documentation only: routes write their bodies themselves, tests compare.

Every schema is closed and lists what is required, so that an answer that drifts away from it fails a test.
"""
