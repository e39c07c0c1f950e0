"""Answers kept for the next who asks, and what makes them outdated."""
