"""The audio path: a worker process that owns the RTP socket and the WebSockets to the bots."""
