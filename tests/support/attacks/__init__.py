"""Attacks on the commands that read what other people's programs have written.

`stage` has good inputs of every kind, `pieces` hostile bytes, and one module a group of commands
says what is planted where and what must come of it (`attack.Attack`). `running` plays an attack: in
this process, or in one of its own that is watched and measured. tests/hostile has the rules that
hold for all of them.
"""
