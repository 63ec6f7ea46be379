"""Targets: this machine as it is, and machines named by a string."""
