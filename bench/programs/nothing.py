"""Nothing: what Python itself takes to start and end."""
