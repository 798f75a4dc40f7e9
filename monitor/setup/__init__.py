"""Setting up: the skill, the MCP entry and the service, put where they belong and taken out again."""
