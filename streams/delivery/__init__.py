"""Alerts on their way to people: what is to be sent to whom, and sending it until it was taken."""
