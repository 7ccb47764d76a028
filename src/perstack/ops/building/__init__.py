"""Projects and Experts that are made anew."""
