"""What is known of each provider's models, as data: one module per provider.

A row stands for its model and for what its name is a prefix of (`claude-haiku-4-5-20251001`); the shortest rows
stand for families, so that a model newer than this list is treated like its relatives.
"""
