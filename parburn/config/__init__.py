"""Config files: what was read at the start of a run, how records lie in it, and what each record means."""
