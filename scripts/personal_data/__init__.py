"""Fitting and measuring the tagger of personal data."""
