"""Campaigns about identity: whose record, whose value, which index a chip carries, and what is said of it."""
