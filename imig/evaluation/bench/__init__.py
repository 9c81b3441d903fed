"""`imig bench`: every case of a benchmark drawn by an adapter, then evaluated.

`case_layout.py` makes of a case what the model is given, `pictures.py` says which pictures there
are to be and which of them are there already, `drawing.py` draws, and `run.py` does it from end to
end.
"""
