"""Mutants of good datasets, and the readers that must take them without harm.

`damage` changes bytes, `formats` knows where a format hurts, `seeds` has the good files, `cases`
makes a mutant of a number, `readers` shows it to everything that reads datasets, `run` does a
million of them: ``cd tests && python -m support.fuzzing.run --cases 1000000``.
"""
