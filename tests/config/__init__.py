"""Tests of parburn.config."""
