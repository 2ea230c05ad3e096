"""Who gets which index, and what was attempted on every chip. Import `base`, `sqlite` or `export` by name."""
