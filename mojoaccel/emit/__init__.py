"""The emit stage: a `Plan` printed as readable Mojo."""
