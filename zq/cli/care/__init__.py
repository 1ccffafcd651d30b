"""Commands for the directory itself: looking it over, copies of it, and making it small again."""
