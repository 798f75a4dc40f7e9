"""The terminal's face: commands."""
