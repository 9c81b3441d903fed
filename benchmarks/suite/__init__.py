"""Every part of imig beside its peer or its limit, measured in one run: `make bench`."""
