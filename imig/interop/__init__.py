"""Other people's formats: a file each, and what reads and writes all of them.

`imig.interop.formats` lists them; `imig.interop.format` says what one is made of.
"""
