"""A model of what damaged frames make a chip burn: frames of whole jobs, replayed with every single fault.

It shares no code with `parburn.sim`, which only answers while a job is recorded. `python -m tests.pulses`.
"""
