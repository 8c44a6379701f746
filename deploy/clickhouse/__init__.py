"""ClickHouse's tables and views: numbered, immutable migrations and what applies them."""
