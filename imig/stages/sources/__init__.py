"""Where targets come from, one kind a file; `imig.stages.source` is the stage around them."""
