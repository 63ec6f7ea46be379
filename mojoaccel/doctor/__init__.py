"""Checks of the environment: one file per group, plain findings; the command line prints them."""
