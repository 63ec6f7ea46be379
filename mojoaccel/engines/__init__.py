"""Engines other than our own Mojo: they take the same traced graph and give the same artifact."""
