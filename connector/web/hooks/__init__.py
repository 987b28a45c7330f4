"""Webhooks: what happens is written down first, then delivered, signed, until it is taken or given up."""
