"""What the words mean: events, labels, rows, dead letters and topics (pydantic, stdlib)."""
