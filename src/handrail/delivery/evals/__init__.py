"""Evaluations: the test conversations of an agent project.

Promise: what a test file expects is checked to be sayable before a release is made. Acts outside the turn. Closed: a
test file that can't be read stops the release.
"""

from handrail.delivery.evals.schema import Expectation, TestFile, TestTurn

__all__ = ["Expectation", "TestFile", "TestTurn"]
