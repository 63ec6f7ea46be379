"""Models for the tests: small ones made for one thing each, and the sweep over a model suite."""
