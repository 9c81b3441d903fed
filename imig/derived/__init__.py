"""Datasets made of finished ones: filtered again, split, merged. Needs no model and no Ray.

`parents` reads the finished ones, `output` opens the folder of the new one, `writing` fills it;
`refilter`, `split` and `merge` say with what.
"""
