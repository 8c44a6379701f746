"""A seeded annotation operation: scenario, workforce, tasks, answers, incidents, and the truth about all of them."""
