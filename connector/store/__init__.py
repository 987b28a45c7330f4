"""History: what has ended, kept in SQLite or PostgreSQL, written behind the events and read by the API."""
