"""Studies: a YAML says what is trained and tested, one driver does it, tables and claims come out."""
