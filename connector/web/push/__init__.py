"""The live connection: a snapshot, then what changes, over one WebSocket."""
