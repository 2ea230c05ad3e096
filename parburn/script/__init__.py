"""A user's Python script: its namespace, its commands, its thread. Stages burns; sends nothing to a chip."""
