"""The live state of queues, members, waiting callers and calls: a pure fold over events."""
