"""Rules at work: measurements in, verdicts out. A deterministic function of the stream of measurements.

`watch.Watch` runs every rule on every scope; `rule_watch` has one rule, `breach` what follows a finding, `values` and
`hours` say what a metric's values are.
"""
