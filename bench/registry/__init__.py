"""What the registry server answers, how quickly, beside other package servers: `python -m bench.registry`."""
