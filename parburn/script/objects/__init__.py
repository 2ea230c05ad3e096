"""What a script has in its hands: `efuses`, `esp`, fields, and modules of its own."""
