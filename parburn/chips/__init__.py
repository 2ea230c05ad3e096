"""What chips are: rows of data, their reader, registry and checks. Reads its own files and nothing else."""
