"""What the registry keeps: two databases behind one interface, the rows of their tables, and the log in them."""
