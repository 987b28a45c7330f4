"""A private Asterisk with phones, an echo bot and callers: what the demo and the tests run against."""
