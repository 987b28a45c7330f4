"""A streaming voice interface and a live view of the queues for an existing Asterisk."""

__version__ = "0.1.0"
