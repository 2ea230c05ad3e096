"""A soak of many stations on one pool: they are killed, frozen, cut off, and their boards change places."""
