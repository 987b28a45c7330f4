"""Who makes a request: sessions, tokens, single sign-on, and what every request is checked for."""
