"""One module a command: its words (`add_parser`) and what it does (`run`).

Thin: parse, call, print. `imig --help` imports all of them: heavy imports are inside `run`.
"""
