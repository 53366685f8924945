"""Empathy-QA construction: from a raw source to leak-free splits with a Chain of Empathy on every answer."""
