"""What comes in and what goes out: requests, answers, routes, bodies, and their description."""
