"""Who may do what, on which target: pure."""
