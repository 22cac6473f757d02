"""Networks beside each other: comparisons, searches, ensembles."""
