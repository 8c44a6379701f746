"""What we believe, as pure functions and small state: handling time, consensus, windows, sketches.

Nothing here touches Kafka, ClickHouse, a clock or the disk: events and time are arguments.
"""
