"""The optimize stage: named passes from `TracedModel` to `Plan`."""
