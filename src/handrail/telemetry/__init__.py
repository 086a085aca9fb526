"""What the process says about itself: log lines, metrics, trace ids.

Beside the turn, never in its way: nothing here is awaited or can refuse a turn.
"""
