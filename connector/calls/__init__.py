"""Call control: what supervisors do to agents and callers, reported done when Asterisk's event says so."""
