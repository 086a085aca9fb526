"""What replicas share beside the database: a Valkey server, and the news they tell one another over it.

Nothing true is kept here: it makes what is in the database known at once, and counts what one process alone can't. Acts
beside the turn, and in it only where a rate is counted. Open: when the server does not answer, one call pays a short
time-out, everybody else goes on at once with what this process knows, and that is counted; it comes back by itself.
"""

from handrail.shared_state.bus import Bus, Hub, Listener, LocalBus, ValkeyBus
from handrail.shared_state.valkey import Unreachable, Valkey

__all__ = ["Bus", "Hub", "Listener", "LocalBus", "Unreachable", "Valkey", "ValkeyBus"]
