"""Jobs that begin and go on: what was ordered, where it runs, who is asked."""
