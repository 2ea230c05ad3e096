"""What an operator or another program sees of a run: observers of events. Nothing here can change a burn."""
