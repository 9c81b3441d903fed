"""Boxes, masks, placement, layering and composition: plain geometry, no models, no storage."""
