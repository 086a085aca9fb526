"""One module a screen: read, render."""
