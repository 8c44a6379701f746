"""Evaluation against known truth, offline: the models that the agents run, measured beside plain methods."""
