"""What the boards of one run share, and what each does in it: from a script's burn to verified bits."""
