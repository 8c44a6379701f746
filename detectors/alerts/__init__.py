"""The life of alerts: what becomes of WATCH's verdicts before people hear of them. Pure, in event time."""
