"""Read-only queries across rooms: what no room can say alone."""
