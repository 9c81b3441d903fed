"""Datasets made to hurt: what is planted, and what each command must answer.

`table.FAULTS` is the whole table, one module a group. A fault is planted into a copy of a good
dataset (`victim.Victim`); checksums and index are made to agree with it, as an attacker would, so
that nothing but the fault itself can be found. `commands` are the ten ways to read a dataset,
`forks` runs one of them in a process of its own and measures it, `verdict` compares what came of it
with what the table expects, and `page` writes the table of docs/reliability.md.
"""
