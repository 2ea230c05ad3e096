"""The soak of a station: boards come and go at random, the station dies and starts, and the chips' own memory
is compared with what the ledger and the station say.

`python -m tests.soak.station --insertions N --seed S` runs it; its last line is one JSON object.
"""
