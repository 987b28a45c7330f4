"""One file per bot wire protocol, sans-I/O: messages in, audio and marks out, and back."""
