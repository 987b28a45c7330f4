"""The REST interfaces of vendors, by which their bots hang up and update calls."""
