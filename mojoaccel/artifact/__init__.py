"""The artifact: weight layouts, manifest, folder and archive."""
