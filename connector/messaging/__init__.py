"""Messages to other programs, by a broker."""
