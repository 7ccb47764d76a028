"""What jobs have done: listed, told, compared, proved."""
