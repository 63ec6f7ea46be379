"""The build stage: finding the Mojo compiler, building, linking, reading its diagnostics."""
