"""What is said against a name, a text, or how often somebody asks."""
