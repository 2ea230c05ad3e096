"""The eFuses as pure values: image, values, staging, rules, plan. Nothing here awaits, logs or prints.

Import the modules by name; this package hands nothing on, so that a command line that only asks for help does
not load them.
"""
