"""Tests of the pool on a real PostgreSQL server, which they start by themselves."""
