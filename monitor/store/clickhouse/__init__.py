"""The fleet's store: rounds in ClickHouse, each known by its content, so that many nodes may write at once."""
