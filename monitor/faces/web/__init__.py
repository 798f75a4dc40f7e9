"""The people's face: pages and the HTTP API on loopback."""
