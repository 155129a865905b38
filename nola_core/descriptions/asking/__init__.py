"""Asking a language model: what is sent, what it costs, what came back, and the cache that keeps every answer."""
