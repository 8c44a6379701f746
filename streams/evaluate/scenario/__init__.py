"""Simulated weeks of a whole operation as what rules look at, and the truth of what went wrong (docs/scenarios.md)."""
