"""`connector top`: the live queues in a terminal, from the push connection of a running connector."""
