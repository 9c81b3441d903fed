"""Stages: steps of a build, one a file. A stage knows scenes, not Ray and not model weights."""
