"""Commands for the directory itself: copies of it, and making it small again."""
