"""Models: the protocol, and one file a backend."""
