"""All code that depends on the kind of database."""
