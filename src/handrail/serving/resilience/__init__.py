"""Resilience: what keeps a turn within its time and tells our own time from the others'.

Acts around every model and tool call. Neither open nor closed: nothing here depends on anything that can fail. So far: the hard deadline (in
`core`) and the measured waits; breakers, retries and the degradation ladder come with the next practice.
"""

from handrail.serving.resilience.waits import Waits

__all__ = ["Waits"]
