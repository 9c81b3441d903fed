"""The steps of a build, one file each. A stage knows scenes, not Ray and not model weights."""
