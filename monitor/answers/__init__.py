"""Answers: one question, one module, one typed object that every face shows."""
