"""The stories: what happens, in order. How each step works is in its room."""
