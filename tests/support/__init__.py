"""Helpers of the tests that run real servers. Start reading in stack.py."""
