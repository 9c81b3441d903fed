"""Object stores: folders at addresses (`s3://`, `gs://`) that outputs are written to and read from.

A dataset is written there by the rules that hold for a local folder (`imig.output.folder`): an
object appears whole or not at all, and the manifest last.
"""
