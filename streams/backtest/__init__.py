"""Rules tried on what was measured before: stored measurements through the very detectors and alerts of workers."""
