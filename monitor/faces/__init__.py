"""Faces: ways to ask. Each shows the answers of `monitor.answers` and works out nothing itself."""
