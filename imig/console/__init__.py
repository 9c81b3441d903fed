"""What a person sees and does while something long runs: lines, bars, rates, and Ctrl-C."""
