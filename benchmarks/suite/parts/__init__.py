"""The parts of `make bench`, one a module.

A part's module has a docstring whose first line says what is compared with what, and a function
``measure(*, small: bool) -> list[Row]``. `small` proves in seconds that the part still runs; its
figures mean nothing.
"""
