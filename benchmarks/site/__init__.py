"""The site that is measured: one order, one sequence of three tasks, and one file for each contestant."""
