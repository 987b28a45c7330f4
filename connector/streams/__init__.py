"""Which calls are streamed where, and the life of one such call."""
