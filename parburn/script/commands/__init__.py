"""The commands of a script: what each takes, and what it stages or shows."""
