"""The HTTP side: metrics, health, live state."""
