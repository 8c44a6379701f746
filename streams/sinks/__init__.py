"""Where rows go: ClickHouse, or memory with the same semantics."""
