"""What differs from one database to another."""
