"""Connections to elsewhere: where they may go, what they carry, and how much is read."""
