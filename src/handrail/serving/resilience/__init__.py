"""Resilience: what keeps a turn within its time and tells our own time from the others'.

Acts around every model and tool call. Neither open nor closed: nothing here depends on anything that can fail. So far
it measures waits; the hard deadline is in `core`; breakers, retries and the degradation ladder are not there yet.
"""

from handrail.serving.resilience.waits import Waits

__all__ = ["Waits"]
