"""Other registries, answered for here."""
