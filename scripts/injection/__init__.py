"""The injection classifier: generated texts, training data, and the fit."""
