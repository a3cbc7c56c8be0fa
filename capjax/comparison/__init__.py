"""Evaluations side by side: which can be compared, in tables, pages and plots."""
