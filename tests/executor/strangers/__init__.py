"""A package that a worker allows, with all that strangers would like to have called."""
