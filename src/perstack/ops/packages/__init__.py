"""The package manager: what is depended on, found, locked, published, looked over."""
