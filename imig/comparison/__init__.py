"""What differs between two datasets: `imig diff`.

`scenes` compares two scenes in memory, `datasets` finds out which ones have to be read, `table`
shows what was found.
"""
