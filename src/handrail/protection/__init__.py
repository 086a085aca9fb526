"""What keeps a turn safe: who calls, how often, with what text, and what may leave in a log line."""
