"""Commands for those who work on this program; nothing here is installed with it."""
