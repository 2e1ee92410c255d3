"""Consumer groups (semantics 2.5, classic protocol) and their committed offsets."""
