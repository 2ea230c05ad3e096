"""The soak: many seeded campaigns of mixed boards, faults and kills, checked against the chips' own memory.

`python -m tests.soak --runs N --seed S` runs it; its last line is one JSON object of counts.
"""
