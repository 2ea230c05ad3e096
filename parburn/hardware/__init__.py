"""What talks to a chip: its ROM loader, who it is, its eFuse controller, a commit. No script, no ledger."""
