"""The commands, by subject: each loads its configuration and calls its stage."""
