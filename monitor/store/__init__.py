"""What is kept: rounds, the totals of sessions, roll-ups, conversations, and how far each source was read."""
