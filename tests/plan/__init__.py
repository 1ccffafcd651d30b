"""The rows of the plan of faults that are run by command alone, and the table of all of them in the documentation."""
