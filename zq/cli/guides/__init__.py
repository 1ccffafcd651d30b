"""What the command line teaches: recipes by topic."""
