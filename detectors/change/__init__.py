"""Change detection with a false-alarm budget: one value at a time in, a finding or nothing out.

A *method* is frozen configuration (`finding.Method`); ``method.build()`` makes a *detector* (`finding.Detector`), which
owns the state of one stream. Where a threshold must be found first, `calibrate` finds it for an average run length.
"""
